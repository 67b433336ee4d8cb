"""The emitted networks, interpreted on the CPU, against HF eager: chunked prefill, then 60 decode steps past the
ring."""

import numpy as np
import pytest
import torch

from g4compile.compare.reference import Reference
from g4compile.compare.verify import verify
from g4compile.compiler import compile
from g4compile.targets.tensorrt.edition import FULL
from g4compile.targets.tensorrt.interpreter.plugged import PluginLayer
from g4compile.targets.tensorrt.steps import Capacities
from tests.conftest import VARIANTS

STEPS, EXACT, SHARE = 60, 5e-4, 1.1


def difference(session, want):
    """Absolute differences to what HF said, of the prompt and of each decoded token."""
    found = [np.abs(session.forward(want.prompt, all_positions=True) - want.prefill)]
    for step in range(STEPS):
        logits = session.forward(want.tokens[:, step : step + 1], all_positions=True)
        found.append(np.abs(logits - want.decode[:, step : step + 1]))
    return found


# A head limit of 16 makes the tiny models' full layers (32) what those of the published ones (512) are: folded.
FOLDED = [*((variant, 256) for variant in VARIANTS), ("tiny-e2b", 16), ("tiny-31b", 16)]


@pytest.mark.parametrize(("variant", "fused_head"), FOLDED)
def test_exact_network_equals_hf_float32(variant, fused_head, emit, expected):
    want = expected(variant, 1)
    session = emit(variant, fused_head=fused_head).session(exact=True)
    worst = max(float(part.max()) for part in difference(session, want))
    assert worst <= EXACT, worst
    session.reset()  # the prefill network keeps the last position alone
    assert float(np.abs(session.forward(want.prompt) - want.prefill[:, -1]).max()) <= EXACT


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("variant", ["tiny-26b-a4b", "tiny-31b"])
def test_network_with_kernels_equals_hf_float32(variant, batch, emit, expected):
    """Full TensorRT's: experts grouped around two plugins, wide heads by a third, in prefill steps."""
    capacities = Capacities(context=256, batch=batch, chunk=16)
    made, want = emit(variant, capacities, edition=FULL, fused_head=16), expected(variant, batch)
    names = plugins_of(made.networks["prefill"][0])
    assert names == {"flash_attention", *(("expert_gate_up", "expert_down") if "26b" in variant else ())}
    assert not plugins_of(made.networks["decode"][0]) and not plugins_of(made.networks["verify"][0])
    session = made.session(exact=True)
    for _ in range(2):
        assert float(np.abs(session.forward(want.prompt) - want.prefill[:, -1]).max()) <= EXACT
        for step in range(4):
            logits = session.forward(want.tokens[:, step : step + 1])
            assert float(np.abs(logits - want.decode[:, step]).max()) <= EXACT
        session.reset()


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
    layers = (one.network.get_layer(index) for index in range(one.network.num_layers))
    return {layer.call.name for layer in layers if isinstance(layer, PluginLayer)}


@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-26b-a4b"])
def test_a_batch_is_three_conversations(variant, emit, expected):
    session = emit(variant, Capacities(context=256, batch=3, chunk=16)).session(exact=True)
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


@pytest.mark.parametrize("weights", ["int4", "fp8"])
@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-26b-a4b", "tiny-31b"])
def test_coded_network_equals_hf_on_the_dequantised_weights(variant, weights, checkpoints, tmp_path, trt):
    """Through the bundle: the codes of `weights.data`, read by their definition, are what HF holds. Exact
    arithmetic."""
    folder = checkpoints(variant).folder
    bundle = compile(
        folder, "tensorrt-rtx", tmp_path / weights, weights=weights, context=128, chunk=16, compute_capabilities=(89,)
    )
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
