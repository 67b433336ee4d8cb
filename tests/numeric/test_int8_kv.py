"""An int8 KV cache against HF with its own cache rounded in the same way, and what the rounding costs."""

import numpy as np
import pytest

from g4compile.bundle.folder import Bundle
from g4compile.compare.dequantized import dequantized
from g4compile.compare.parity import LIMITS
from g4compile.compare.reference import Reference
from g4compile.compare.verify import verify
from g4compile.compiler import compile
from g4compile.planning.caches import kv_bytes
from g4compile.runtime.session import Session
from tests.conftest import VARIANTS, once
from tests.scenario import chunk_sizes, compare_session, window_of


@pytest.fixture
def int8_kv(shared, checkpoints):
    def get(variant):
        checkpoint = checkpoints(variant)
        return Bundle.open(
            once(
                shared,
                f"{variant}-int8-kv",
                lambda path: compile(checkpoint, "onnx-cpu", path, kv="int8", modalities=("text",)) and None,
            )
        )

    return get


@pytest.mark.parametrize("variant", VARIANTS)
def test_session_equals_hf_with_a_rounded_cache(variant, int8_kv, checkpoints):
    bundle, checkpoint = int8_kv(variant), checkpoints(variant)
    reference, session = Reference(checkpoint.folder, kv="int8"), Session(bundle, threads=1)
    window = window_of(checkpoint)
    ids = np.random.default_rng(3).integers(0, checkpoint.facts.text.vocab_size, (2, 3 * window))
    meter = compare_session(reference, session, ids, 3 * window, chunk_sizes(window))
    assert not meter.result().broken(LIMITS["int8 KV"]), meter.result()


BY_DEFAULT = ("tiny-e2b", "tiny-31b")


@pytest.mark.parametrize(
    "variant", [one if one in BY_DEFAULT else pytest.param(one, marks=pytest.mark.nightly) for one in VARIANTS]
)
def test_rings_of_codes_equal_hf_with_a_rounded_cache(variant, g4ops, quantized, checkpoints):
    """Codes that libg4ops writes and reads: those of the judge, but for numbers between two codes."""
    bundle, checkpoint = quantized(variant, "exact", "g4ops", "int8"), checkpoints(variant)
    assert {"g4ops", "int8-kv", "ring-kv"} <= set(bundle.manifest.requires)
    reference = Reference(checkpoint.folder, dequantized(bundle), kv="int8")
    session, window = Session(bundle, threads=1), window_of(checkpoint)
    ids = np.random.default_rng(3).integers(0, checkpoint.facts.text.vocab_size, (2, 3 * window))
    meter = compare_session(reference, session, ids, 3 * window, chunk_sizes(window))
    assert not meter.result().broken(LIMITS["int8 KV"]), meter.result()


@pytest.mark.parametrize("tokens", [5, 40, 600])
def test_it_is_as_large_as_planned(tokens, int8_kv, checkpoints):
    session = Session(int8_kv("tiny-e2b"), threads=1)
    session.forward([7] * tokens)
    facts = checkpoints("tiny-e2b").facts.text
    assert session.kv_bytes == kv_bytes(facts, tokens, "int8") < 0.4 * kv_bytes(facts, tokens)


def test_rewound_tokens_can_be_replaced(int8_kv):
    session = Session(int8_kv("tiny-e2b"), threads=1)
    session.forward([5, 6, 7, 8, 9])
    want = session.forward([10])
    session.forward([11, 12, 13])
    session.rewind(4)
    np.testing.assert_allclose(session.forward([10]), want, atol=1e-5)


def test_verify_reports_what_it_costs(int8_kv, checkpoints):
    """On random weights the rounding shows, but stays small; a float32 cache costs nothing and reports nothing."""
    report = verify(int8_kv("tiny-31b"), checkpoints("tiny-31b").folder, layers=True)
    assert report.passed
    assert report.first_divergence is None
    assert 1e-4 < report.kv_cost.mean_abs_difference < 0.1
    assert report.kv_cost.kl_mean < 0.02
