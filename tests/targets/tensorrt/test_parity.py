"""The emitted networks, interpreted on the CPU, against HF eager: chunked prefill, then 60 decode steps past the
ring."""

import numpy as np
import pytest
import torch

from g4compile.bundle.weight_steps import undo_reorders
from g4compile.compare.reference import Reference
from g4compile.compare.verify import verify
from g4compile.compiler import compile
from g4compile.targets.tensorrt.attention_forms import FOLDED, FORMS, FUSED, SELECT
from g4compile.targets.tensorrt.edition import FULL
from g4compile.targets.tensorrt.interpreter.plugged import PluginLayer
from g4compile.targets.tensorrt.steps import Capacities
from g4compile.weights.quantized import QuantizedTensor
from tests.conftest import VARIANTS
from tests.targets.tensorrt.nightly import with_nightly

STEPS, EXACT, SHARE = 60, 5e-4, 1.1


def difference(session, want):
    """Absolute differences to what HF said, of the prompt and of each decoded token."""
    found = [np.abs(session.forward(want.prompt, all_positions=True) - want.prefill)]
    for step in range(STEPS):
        logits = session.forward(want.tokens[:, step : step + 1], all_positions=True)
        found.append(np.abs(logits - want.decode[:, step : step + 1]))
    return found


# Variant, form of attention, and the widest head of a fused layer: 16 makes full layers of tiny models (32) what those
# of the published ones (512) are.
IN_FORMS = [
    *((variant, FUSED, 256) for variant in VARIANTS),
    ("tiny-e2b", FUSED, 16),
    ("tiny-31b", FUSED, 16),
    ("tiny-12b", SELECT, 256),
    ("tiny-26b-a4b", SELECT, 256),
    ("tiny-e4b", FOLDED, 256),
    ("tiny-31b", FOLDED, 256),
]
ALL_FORMS = [(variant, form, 256) for variant in VARIANTS for form in FORMS]


@pytest.mark.parametrize(("variant", "form", "fused_head"), with_nightly(IN_FORMS, ALL_FORMS))
def test_exact_network_equals_hf_float32(variant, form, fused_head, emit, expected):
    want = expected(variant, 1)
    session = emit(variant, attention=form, fused_head=fused_head).session(exact=True)
    worst = max(float(part.max()) for part in difference(session, want))
    assert worst <= EXACT, worst
    session.reset()  # the prefill network keeps the last position alone
    assert float(np.abs(session.forward(want.prompt) - want.prefill[:, -1]).max()) <= EXACT


SORTED = {"choose_experts", "count_experts", "place_rows", "product_rows", "stream_rows", "expert_sum"}
SINGLE = {"choose_experts", "product_one", "stream_rows", "expert_sum"}


def answers_as(session, want, tokens):
    """A prompt, then steps of one token, twice. ``want`` of the prompt and of each step."""
    prefill, *decode = want
    for _ in range(2):
        assert float(np.abs(session.forward(tokens[0]) - prefill).max()) <= EXACT
        for token, logits in zip(tokens[1:], decode, strict=True):
            assert float(np.abs(session.forward(token) - logits).max()) <= EXACT
        session.reset()


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("variant", ["tiny-26b-a4b", "tiny-31b"])
def test_network_with_kernels_equals_hf_float32(variant, batch, emit, expected):
    """Full TensorRT's: experts by kernels in every step, wide heads by a kernel in prefill steps."""
    made, want = emit(variant, capacities(batch), edition=FULL, fused_head=16), expected(variant, batch)
    found = {name: plugins_of(ranks[0]) for name, ranks in made.networks.items()}
    experts = "26b" in variant
    assert found["prefill"] >= {"attend_tokens", *(SORTED if experts else ())}
    assert found["verify"] == (SORTED if experts else set())
    assert found["decode"] == ((SINGLE if batch == 1 else SORTED) if experts else set())
    steps = range(4)
    logits = [want.prefill[:, -1], *(want.decode[:, step] for step in steps)]
    answers_as(made.session(exact=True), logits, [want.prompt, *(want.tokens[:, step : step + 1] for step in steps)])


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-26b-a4b", "tiny-31b"])
def test_codes_in_kernels_equal_hf_on_the_dequantised_weights(variant, batch, emit, checkpoints):
    """Full TensorRT's 4-bit weights: every product of the decoder by kernels that read codes. Of a prompt of two chunks
    the second ends a prefill step, whose last position is one of many."""
    made = emit(variant, capacities(batch), edition=FULL, weights="int4", fused_head=16)
    networks = [one for ranks in made.networks.values() for one in ranks]
    kinds = {layer.type.name for one in networks for layer in layers_of(one)}
    assert "DEQUANTIZE" not in kinds and plugins_of(made.networks["decode"][0]) & {"product_one", "product_rows"}
    reference = Reference(checkpoints(variant).folder, stands_for(networks).items())
    ids = np.random.default_rng(batch).integers(10, 900, (batch, 31))
    pieces = [ids[:, :28], ids[:, 28:29], ids[:, 29:30], ids[:, 30:31]]
    wanted = [reference.forward(piece)[:, -1] for piece in pieces]
    answers_as(made.session(exact=True), wanted, pieces)
    reference.reset()
    whole, session = reference.forward(ids), made.session(exact=True)
    assert float(np.abs(session.forward(ids, all_positions=True) - whole).max()) <= EXACT


def capacities(batch):
    return Capacities(context=256, batch=batch, chunk=16)


def stands_for(networks):
    """By checkpoint key, what the codes that networks take are; of a tied table the last product alone reads codes."""
    tensors = [tensor for one in networks for tensor in one.weights.values()]
    coded = {one.key: one.matrix for one in tensors if isinstance(one, QuantizedTensor) and one.part == "codes"}
    weights = {key: undo_reorders(matrix.dequantized(), matrix.weight.steps) for key, matrix in coded.items()}
    return {"lm_head.weight" if key.endswith("embed_tokens.weight") else key: one for key, one in weights.items()}


def layers_of(one):
    return [one.network.get_layer(index) for index in range(one.network.num_layers)]


@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-26b-a4b", "tiny-31b"])
@pytest.mark.parametrize("tokens", [9, 13, 16])
def test_a_prompt_that_ends_in_a_prefill_step(variant, tokens, emit, expected):
    """With kernels, filled up or not: the one position that has logits is the last token's, in every layer."""
    made, want = (
        emit(variant, Capacities(context=256, batch=1, chunk=16), edition=FULL, fused_head=16),
        expected(variant, 1),
    )
    session = made.session(exact=True)
    assert float(np.abs(session.forward(want.prompt[:, :tokens]) - want.prefill[:, tokens - 1]).max()) <= EXACT


def plugins_of(one):
    return {layer.call.name for layer in layers_of(one) if isinstance(layer, PluginLayer)}


BATCHES = [("tiny-e2b", FUSED, 16), ("tiny-26b-a4b", FOLDED, 16), ("tiny-31b", SELECT, 64)]
ALL_BATCHES = [(variant, form, chunk) for variant in VARIANTS for form in FORMS for chunk in (16, 64)]


@pytest.mark.parametrize(("variant", "form", "chunk"), with_nightly(BATCHES, ALL_BATCHES))
def test_a_batch_is_three_conversations(variant, form, chunk, emit, expected):
    session = emit(variant, Capacities(context=256, batch=3, chunk=chunk), attention=form).session(exact=True)
    assert max(float(part.max()) for part in difference(session, expected(variant, 3))) <= EXACT


@pytest.mark.parametrize("variant", VARIANTS)
def test_bfloat16_network_is_as_close_as_hf_in_bfloat16(variant, emit, expected, checkpoints):
    """Mean error to HF float32, over the same tokens, at most 1.1 times HF's own when it computes in bfloat16."""
    checkpoint = checkpoints(variant)
    exact, reference = Reference(checkpoint.folder), Reference(checkpoint.folder)
    reference.model.to(torch.bfloat16)
    session, ours, theirs = emit(variant).session(exact=False), [], []
    for tokens in conversations(checkpoint.facts.text, expected(variant, 1)):
        session.reset()
        exact.reset()
        reference.reset()
        for piece in tokens:
            want = exact.forward(piece)
            ours.append(float(np.abs(session.forward(piece, all_positions=True) - want).mean()) * piece.size)
            theirs.append(float(np.abs(narrow(reference, piece) - want).mean()) * piece.size)
    assert sum(ours) <= SHARE * sum(theirs), sum(ours) / sum(theirs)


def conversations(text, want):
    """The standard scenario. With experts, many short ones instead: where two experts are nearly tied, rounding
    picks one by chance and the rest of a conversation is another, so a single one says which of two got lucky."""
    if text.moe is None:
        return [[want.prompt, *np.split(want.tokens[:, :STEPS], STEPS, axis=1)]]
    return [[ids] for ids in np.random.default_rng(1).integers(0, text.vocab_size, (100, 1, 8))]


def narrow(reference, ids):
    """Logits of a model in bfloat16, as float32."""
    with torch.no_grad():
        out = reference.model(input_ids=torch.from_numpy(ids), past_key_values=reference._cache, use_cache=True)
    reference._cache = out.past_key_values
    return out.logits.float().numpy()


CODED = [
    ("tiny-e2b", "int4", SELECT),
    ("tiny-26b-a4b", "int4", FOLDED),
    ("tiny-31b", "int4", FUSED),
    *((variant, "fp8", FUSED) for variant in ("tiny-e2b", "tiny-26b-a4b", "tiny-31b")),
]
ALL_CODED = [(variant, weights, form) for variant in VARIANTS for weights in ("int4", "fp8") for form in FORMS]


@pytest.mark.parametrize(("variant", "weights", "form"), with_nightly(CODED, ALL_CODED))
def test_coded_network_equals_hf_on_the_dequantised_weights(variant, weights, form, checkpoints, tmp_path, trt):
    """Through the bundle: the codes of `weights.data`, read by their definition, are what HF holds. Exact
    arithmetic."""
    folder = checkpoints(variant).folder
    bundle = compile(
        folder, "tensorrt-rtx", tmp_path / weights, weights=weights, context=128, chunk=16, compute_capabilities=(89,),
        attention=form,
    )  # fmt: skip
    assert {step.attention for step in bundle.manifest.engine.steps} == {form}
    coded = [weight for weight in bundle.manifest.engine.weights if weight.offset is not None]
    assert len(coded) > 2 * 4 * len(checkpoints(variant).facts.text.layers)
    report = verify(bundle, folder, prompt_tokens=40, new_tokens=8)
    assert report.passed, report.broken
    assert report.parity["prefill"].max_abs_difference <= EXACT


def test_a_wrong_network_is_seen(emit, expected):
    """The comparison is not vacuous: with each ring slot taken for the next one, the difference is over the limit."""
    made = emit("tiny-31b", Capacities(context=128, batch=1, chunk=16))
    slots = [
        data
        for networks in made.networks.values()
        for data in networks[0].constants.values()
        if data.dtype == np.int32 and data.shape == (1, 32)
    ]
    assert len(slots) == 3
    for data in slots:
        np.add(data, 1, out=data)
    assert max(float(part.max()) for part in difference(made.session(exact=True), expected("tiny-31b", 1))) > EXACT
