"""Quantised bundles against HF holding what their codes stand for."""

import numpy as np
import pytest

from g4compile.compare.dequantized import dequantized
from g4compile.compare.parity import limits_of
from g4compile.compare.reference import Reference
from g4compile.runtime.session import Session
from tests.conftest import VARIANTS
from tests.scenario import compare_session, window_of

RECIPES = ("exact", "int8", "int4", "int2", "mobile")
# With libg4ops every night, and these by default: a tied embedding, experts, all bits, exact products.
G4OPS = {("tiny-31b", "int4"), ("tiny-26b-a4b", "exact"), ("tiny-e2b", "mobile"), ("tiny-e2b", "int2")}
CASES = [(variant, recipe, "onnxruntime") for variant in VARIANTS for recipe in RECIPES]
CASES += [
    pytest.param(variant, recipe, "g4ops", marks=() if (variant, recipe) in G4OPS else pytest.mark.nightly)
    for variant in VARIANTS
    for recipe in (*RECIPES, "int4-channel")
]


@pytest.mark.parametrize(("variant", "recipe", "kernels"), CASES)
def test_recipe_equals_hf_on_the_dequantised_weights(variant, recipe, kernels, quantized, checkpoints, request):
    """Prefill of three windows, decode, and the prefill again in chunks; batch 2."""
    if kernels == "g4ops":
        request.getfixturevalue("g4ops")
    bundle, checkpoint = quantized(variant, recipe, kernels), checkpoints(variant)
    assert ("g4ops" in bundle.manifest.requires) == (kernels == "g4ops")
    reference = Reference(checkpoint.folder, dequantized(bundle))
    session = Session(bundle, threads=1)
    random, window = np.random.default_rng(1), window_of(checkpoint)
    ids = random.integers(0, checkpoint.facts.text.vocab_size, (2, 3 * window))
    meter = compare_session(reference, session, ids, 2 * window, [window + 1])
    assert bundle.manifest.activations == ("float32" if recipe == "exact" else "int8")
    assert not meter.result().broken(limits_of(bundle.manifest)), meter.result()
    experts = any(".experts." in key for key in bundle.manifest.quantized)
    assert meter.result().top1_agreement >= (0.5 if experts else 0.8)  # of all positions together, more than of 16


def test_codes_are_those_of_the_weights(quantized, checkpoints):
    """What the bundle stands for is near the checkpoint's own weights: no tensor, row or block is swapped."""
    bundle, checkpoint = quantized("tiny-26b-a4b", "int8"), checkpoints("tiny-26b-a4b")
    seen = 0
    for key, weight in dequantized(bundle):
        stored = checkpoint.read(key)
        assert np.abs(weight - stored).max() < 0.01 * np.abs(stored).max(), key
        seen += 1
    assert seen == len(bundle.manifest.quantized) > 40


def test_a_tied_embedding_is_stored_once(quantized, checkpoints):
    bundle = quantized("tiny-31b", "int4")
    facts = checkpoints("tiny-31b").facts.text
    codes = sum(
        int(np.prod(spec.shape)) * spec.bits // 8 for spec in bundle.manifest.quantized.values() if spec.block == 128
    )
    assert facts.tied
    data = bundle.manifest.files["weights.data"].bytes
    padded = sum(
        -(-int(np.prod(spec.shape[:-1])) * -(-spec.shape[-1] // 128) * (64 + 4) // 4096) * 4096 + 8192
        for spec in bundle.manifest.quantized.values()
    )
    assert codes < data < padded
