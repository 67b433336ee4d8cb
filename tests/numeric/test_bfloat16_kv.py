"""A bfloat16 KV cache against HF with its own cache rounded in the same way, and what the rounding costs."""

import json

import ml_dtypes
import numpy as np
import pytest
from typer.testing import CliRunner

from g4compile.cli.app import app
from g4compile.compare.dequantized import dequantized
from g4compile.compare.parity import LIMITS, Meter, limits_of
from g4compile.compare.reference import Reference
from g4compile.compare.stages import StageRunner
from g4compile.compare.verify import verify
from g4compile.planning.caches import kv_bytes
from g4compile.planning.plan import plan
from g4compile.program import Program
from g4compile.runtime.session import Session
from g4compile.targets.lower import to_stage
from g4compile.targets.onnx.kernels import OnnxOptions
from g4compile.targets.onnx.target import ONNX_CPU
from tests.conftest import VARIANTS
from tests.scenario import chunk_sizes, compare_session, window_of

ROW = LIMITS["bfloat16 KV"]
BY_DEFAULT = ("tiny-e2b", "tiny-31b")
variants = pytest.mark.parametrize(
    "variant", [one if one in BY_DEFAULT else pytest.param(one, marks=pytest.mark.nightly) for one in VARIANTS]
)


@pytest.fixture
def bundle(g4ops, quantized):
    """Products of float32 operands, so that the cache alone is rounded."""
    return lambda variant: quantized(variant, "exact", "g4ops", "bfloat16")


def prompt_of(checkpoint, batch=2, seed=3):
    return np.random.default_rng(seed).integers(0, checkpoint.facts.text.vocab_size, (batch, 3 * window_of(checkpoint)))


@variants
def test_session_equals_hf_with_a_rounded_cache(variant, bundle, checkpoints):
    """Prefill of three windows, 120 steps, the prefill again in chunks; batch 2."""
    made, checkpoint = bundle(variant), checkpoints(variant)
    assert {"g4ops", "bfloat16-kv", "ring-kv"} <= set(made.manifest.requires) and limits_of(made.manifest) is ROW
    reference = Reference(checkpoint.folder, dequantized(made), kv="bfloat16")
    ids = prompt_of(checkpoint)
    meter = compare_session(reference, Session(made, threads=1), ids, 120, chunk_sizes(window_of(checkpoint)))
    assert not meter.result().broken(ROW), meter.result()


def test_the_judge_that_does_not_round_is_further_away(bundle, checkpoints):
    """What the limits bound is far below what bfloat16 does, so they see whether the cache is rounded, and how."""
    made, checkpoint = bundle("tiny-31b"), checkpoints("tiny-31b")
    for kv in ("float32", "int8"):
        reference = Reference(checkpoint.folder, dequantized(made), kv=kv)
        meter = compare_session(reference, Session(made, threads=1), prompt_of(checkpoint), 8, [])
        assert meter.result().relative_difference > ROW.relative_difference


def test_caches_hold_the_bits_of_hf(bundle, checkpoints):
    """Those of full layers and of rings; where they are not the same, neighbours, and few."""
    made, checkpoint = bundle("tiny-e2b"), checkpoints("tiny-e2b")
    reference, session = Reference(checkpoint.folder, dequantized(made), kv="bfloat16"), Session(made, threads=1)
    ids = prompt_of(checkpoint)
    reference.forward(ids)
    session.forward(ids)
    other = compared = 0
    for layer in made.manifest.kv.layers:
        held = reference._cache.layers[layer.layer]
        for part, theirs in (("key", held.keys), ("value", held.values)):
            judge = theirs.numpy().astype(ml_dtypes.bfloat16).view(np.uint16)
            tokens = judge.shape[2]  # a sliding layer of HF keeps a window
            ours = session._cache._array(layer, part)[:, :, ids.shape[1] - tokens : ids.shape[1]]
            steps = np.abs(ours.astype(int) - judge.astype(int))
            assert tokens >= window_of(checkpoint) - 1
            # A neighbour in the cache of a layer moves what later layers compute: here by 6e-5 of their greatest value,
            # which is several steps of a number near zero.
            moved = np.abs(ours.view(ml_dtypes.bfloat16).astype(np.float32) - theirs.numpy())
            assert moved[steps > 1].max(initial=0) <= 2**-13 * np.abs(theirs.numpy()).max()
            other, compared = other + int(steps.sum()), compared + steps.size
    assert compared > 2000 and other < 0.01 * compared


@pytest.mark.parametrize("kernels", ["g4ops", "onnxruntime"])
def test_the_graph_before_it_is_lowered_equals_hf(kernels, traced, checkpoints):
    """At [quantized] the cache is a cast, which ONNX Runtime does too: in rings, and in windows that move."""
    checkpoint = checkpoints("tiny-e2b")
    model = traced("tiny-e2b")
    to_stage(
        Program.decoder(model, checkpoint.facts), ONNX_CPU, OnnxOptions(kv="bfloat16", kernels=kernels), "quantized"
    )
    reference, runner = Reference(checkpoint.folder, kv="bfloat16"), StageRunner(model, checkpoint.facts)
    ids = prompt_of(checkpoint)
    expected = reference.forward(ids)
    found = [runner.forward(ids[:, start : start + 7]) for start in range(0, ids.shape[1], 7)]
    found += [runner.forward(expected[:, -1:].argmax(-1))]
    whole = np.concatenate([expected, reference.forward(expected[:, -1:].argmax(-1))], 1)
    meter = Meter()
    meter.add(whole, np.concatenate(found, 1))
    assert not meter.result().broken(ROW), meter.result()


@pytest.mark.parametrize("tokens", [5, 600])
def test_it_is_as_large_as_planned(tokens, bundle, checkpoints):
    """Half of float32, to the byte: in the session, in the manifest and in the plan."""
    made, checkpoint = bundle("tiny-e2b"), checkpoints("tiny-e2b")
    session = Session(made, threads=1)
    session.forward([7] * tokens)
    text = checkpoint.facts.text
    assert session.kv_bytes == kv_bytes(text, tokens, "bfloat16", rings=True)
    assert 2 * session.kv_bytes == kv_bytes(text, tokens, rings=True)
    for layer in made.manifest.kv.layers:
        assert layer.bytes_per_token == 2 * layer.heads * 2 * layer.head_dim
    planned = plan(checkpoint.folder, weights="int4", kv="bfloat16", context=tokens)  # kernels follow from it
    assert (planned.kernels, planned.kv, planned.kv_bytes) == ("g4ops", "bfloat16", session.kv_bytes)


def test_rewound_tokens_can_be_replaced(bundle):
    session = Session(bundle("tiny-e2b"), threads=1)
    session.forward([5, 6, 7, 8, 9])
    want = session.forward([10])
    session.forward([11, 12, 13])
    session.rewind(4)
    np.testing.assert_array_equal(session.forward([10]), want)


def test_verify_reports_what_it_costs(bundle, checkpoints):
    """On random weights the rounding shows, and stays smaller than that of int8."""
    made, folder = bundle("tiny-31b"), checkpoints("tiny-31b").folder
    report = verify(made, folder, layers=True)
    assert report.passed and report.limits is ROW and report.first_divergence is None
    assert report.judge.endswith("keys and values rounded to bfloat16, as the bundle's are")
    assert 1e-5 < report.kv_cost.mean_abs_difference < 0.02
    assert report.kv_cost.kl_mean < 0.001
    shown = CliRunner().invoke(app, ["verify", str(made.folder), "--against", str(folder)])
    assert shown.exit_code == 0 and "rounded KV costs" in shown.stdout
    said = json.loads(CliRunner().invoke(app, ["inspect", str(made.folder), "--json"]).stdout)
    assert said["parts"]["decoder"]["kv"]["dtype"] == "bfloat16"
    assert said["kv_bytes_per_token"] == sum(
        layer.bytes_per_token for layer in made.manifest.kv.layers if not layer.keep
    )
