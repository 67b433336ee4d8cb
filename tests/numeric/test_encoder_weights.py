"""Vision encoders whose weights are codes, against Hugging Face with what the codes stand for."""

from dataclasses import replace

import numpy as np
import pytest

from g4compile.bundle.folder import Bundle
from g4compile.compare.dequantized import dequantized
from g4compile.compare.reference import Reference
from g4compile.compiler import compile
from g4compile.errors import InputError
from g4compile.program import Program, bind
from g4compile.runtime.vision import VisionEncoder
from g4compile.targets.lower import to_stage
from g4compile.targets.onnx.target import ONNX_CPU
from g4compile.trace.trace import trace
from g4compile.weights.identity import compare_codes
from tests.conftest import once
from tests.numeric.test_vision import SIZES
from tests.vision import LIMIT, hf_features, images_of, runner, spec_of

DECODER = "* int4 32 symmetric int8 nearest"
# Products that read floats: ONNX Runtime has them for 4 bits alone, the library for all.
EXACT = {
    "onnxruntime": [f"{name}.* int4 32 asymmetric float32 search" for name in ("vision_tower", "embed_vision")],
    "g4ops": [f"{name}.* int8 row symmetric float32 nearest" for name in ("vision_tower", "embed_vision")],
}
EMBEDDER = {name: [lines[0].replace("vision_tower", "vision_embedder"), lines[1]] for name, lines in EXACT.items()}
# Root mean square of differences over that of the features. Worst: 0.009 (tiny-12b).
ROUNDED = 0.02


@pytest.fixture
def seeing(shared, checkpoints, tmp_path):
    """Bundles that take images, by preset, recipe and kernels; with the lines of a recipe, those."""

    def get(variant, recipe, kernels="onnxruntime", lines=()):
        if lines:
            recipe = tmp_path / "mine.txt"
            recipe.write_text("\n".join(lines))

        def make(path):
            compile(
                checkpoints(variant).folder, "onnx-cpu", path, weights=str(recipe), kernels=kernels,
                modalities=("text", "image"),
            )  # fmt: skip

        return Bundle.open(once(shared, f"{variant}-{kernels}-{'-'.join(lines) or recipe}-seeing", make))

    return get


def relative(found, want):
    return float(np.sqrt(np.mean((found - want) ** 2) / np.mean(want**2)))


def shake(image, noise):
    values = image.pixel_values + noise.normal(0, 1e-7, image.pixel_values.shape)
    return replace(image, pixel_values=values.astype(np.float32))


def compare(bundle, checkpoint, weights=None):
    """Pairs of features: ours, and Hugging Face's with ``weights``, or with what the codes stand for."""
    spec = spec_of(checkpoint)
    images = images_of(spec, SIZES, budget=70)
    encoder = VisionEncoder(bundle, 1)
    reference = Reference(checkpoint.folder, dequantized(bundle) if weights is None else weights)
    for image, want in zip(images, hf_features(reference, images), strict=True):
        yield encoder.rows(image), want


CASES = [(variant, "onnxruntime") for variant in ("tiny-e2b", "tiny-12b", "tiny-31b")] + [("tiny-e2b", "g4ops")]


@pytest.mark.parametrize(("variant", "kernels"), CASES)
def test_exact_products_of_codes_equal_hf(variant, kernels, seeing, checkpoints, request):
    if kernels == "g4ops":
        request.getfixturevalue("g4ops")
    lines = (EMBEDDER if variant == "tiny-12b" else EXACT)[kernels]
    bundle, checkpoint = seeing(variant, "", kernels, (*lines, DECODER)), checkpoints(variant)
    assert sum("vision" in key for key in bundle.manifest.quantized) >= 2
    for found, want in compare(bundle, checkpoint):
        assert np.abs(found - want).max() <= LIMIT


@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-e4b", "tiny-12b", "tiny-26b-a4b", "tiny-31b"])
def test_encoders_have_8_bits_whatever_the_decoder_has(variant, seeing, checkpoints):
    bundle = seeing(variant, "int2")
    vision = {key: spec for key, spec in bundle.manifest.quantized.items() if "vision" in key}
    assert vision and {spec.bits for spec in vision.values()} == {8}
    assert any("vision" in line for line in bundle.manifest.recipe)
    for found, want in compare(bundle, checkpoints(variant)):
        assert relative(found, want) <= ROUNDED


def test_a_changed_sign_shows(seeing, checkpoints):
    """What the limit above would not let pass."""
    bundle, checkpoint = seeing("tiny-e2b", "int2"), checkpoints("tiny-e2b")
    weights = dict(dequantized(bundle))
    weights["model.vision_tower.encoder.layers.1.self_attn.v_proj.linear.weight"] *= -1
    for found, want in compare(bundle, checkpoint, weights.items()):
        assert relative(found, want) > 5 * ROUNDED


def test_encoders_of_a_recipe_without_codes_stay_float32(seeing, checkpoints):
    lines = ("vision_tower.* float32", "embed_vision.* float32", DECODER)
    bundle = seeing("tiny-e2b", "", "onnxruntime", lines)
    assert not any("vision" in key for key in bundle.manifest.quantized)
    for found, want in compare(bundle, checkpoints("tiny-e2b")):
        assert np.abs(found - want).max() <= LIMIT


def test_a_rule_that_names_no_module_of_the_encoder(seeing):
    with pytest.raises(InputError, match=r"the pattern vision_tower.nothing.* of recipe mine.txt matches no weight"):
        seeing("tiny-e2b", "", "onnxruntime", ("vision_tower.nothing.* float32", DECODER))


@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-e4b"])
def test_codes_of_a_checkpoint_equal_hf(variant, coded, shared):
    """At [quantized] products are exact, and activations rounded as calibrated; a bundle has every code unchanged."""
    checkpoint = coded(variant)
    program = Program.of({"vision": trace(checkpoint.facts, part="vision")}, checkpoint.facts)
    bind(program, checkpoint)
    to_stage(program, ONNX_CPU, ONNX_CPU.options(weights="stored"), "quantized")
    model = program.parts["vision"].model
    assert sum(node.op_type == "RoundActivations" for node in model.graph) > 10
    spec = spec_of(checkpoint)
    images, run = images_of(spec, SIZES, budget=70), runner(model)
    judge = Reference(checkpoint.folder)
    expected, noise = hf_features(judge, images), np.random.default_rng(0)
    scatter = 0.0  # of the judge itself: noise in the last bits of a pixel rounds what lies between two steps to either
    for _ in range(6):
        shaken = [shake(image, noise) for image in images]
        again = hf_features(judge, shaken)
        scatter = max(scatter, *(relative(one, want) for one, want in zip(again, expected, strict=True)))
    for image, want in zip(images, expected, strict=True):
        assert relative(run(image, spec), want) <= 2 * scatter <= 0.02
    out = once(
        shared, f"{variant}-stored-seeing",
        lambda path: compile(checkpoint, "onnx-cpu", path, modalities=("text", "image")) and None,
    )  # fmt: skip
    bundle = Bundle.open(out)
    found = compare_codes(bundle, checkpoint)
    assert found.different == () and sum("vision" in key for key in bundle.manifest.quantized) > 10
