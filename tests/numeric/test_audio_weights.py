"""Audio encoders whose weights are codes, against Hugging Face with what the codes stand for."""

from dataclasses import replace

import numpy as np
import pytest

from g4compile.bundle.folder import Bundle
from g4compile.compare.dequantized import dequantized
from g4compile.compare.reference import Reference
from g4compile.compiler import compile
from g4compile.runtime.audio import AudioEncoder
from g4compile.targets.lower import to_stage
from g4compile.targets.onnx.target import ONNX_CPU
from g4compile.weights.identity import compare_codes
from tests.audio import hf_features, program, runner, sound_of, spec_of
from tests.conftest import once
from tests.numeric.test_encoder_weights import DECODER, relative
from tests.vision import LIMIT

# Of rounded activations, as in `test_encoder_weights.py`. Worst: 0.024 (tiny-e2b), whose layers have eight products
# behind each other, those of vision four.
ROUNDED = 0.03
SECONDS = (1.3, 0.06, 0.5)
EXACT = {
    "onnxruntime": [f"{name}.* int4 32 asymmetric float32 search" for name in ("audio_tower", "embed_audio")],
    "g4ops": [f"{name}.* int8 row symmetric float32 nearest" for name in ("audio_tower", "embed_audio")],
}


def sounds_of(checkpoint):
    return [sound_of(spec_of(checkpoint), seconds, seed) for seed, seconds in enumerate(SECONDS)]


def compare(bundle, checkpoint, weights=None):
    """Pairs of features: ours, and Hugging Face's with ``weights``, or with what the codes stand for."""
    sounds, encoder = sounds_of(checkpoint), AudioEncoder(bundle, 1)
    reference = Reference(checkpoint.folder, dequantized(bundle) if weights is None else weights)
    return [(encoder.rows(sound), want) for sound, want in zip(sounds, hf_features(reference, sounds), strict=True)]


CASES = [(variant, "onnxruntime") for variant in ("tiny-e2b", "tiny-12b")] + [("tiny-e2b", "g4ops")]


@pytest.mark.parametrize(("variant", "kernels"), CASES)
def test_exact_products_of_codes_equal_hf(variant, kernels, checkpoints, tmp_path, request):
    if kernels == "g4ops":
        request.getfixturevalue("g4ops")
    lines = EXACT[kernels][variant == "tiny-12b" :]  # 12B's is a projection alone
    recipe, checkpoint = tmp_path / "mine.txt", checkpoints(variant)
    recipe.write_text("\n".join([*lines, DECODER]))
    bundle = compile(
        checkpoint.folder, "onnx-cpu", tmp_path / "bundle", weights=str(recipe), kernels=kernels,
        modalities=("text", "audio"),
    )  # fmt: skip
    assert any("audio" in key for key in bundle.manifest.quantized)
    for found, want in compare(bundle, checkpoint):
        assert np.abs(found - want).max() <= LIMIT


@pytest.fixture
def coarse(shared, checkpoints):
    """Bundles whose decoder has 2 bits."""

    def get(variant):
        def make(path):
            compile(
                checkpoints(variant).folder, "onnx-cpu", path, weights="int2", kernels="onnxruntime",
                modalities=("text", "audio"),
            )  # fmt: skip

        return Bundle.open(once(shared, f"{variant}-int2-hearing", make))

    return get


@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-e4b", "tiny-12b"])
def test_encoders_have_8_bits_whatever_the_decoder_has(variant, coarse, checkpoints):
    bundle = coarse(variant)
    audio = {key: spec for key, spec in bundle.manifest.quantized.items() if "audio" in key}
    assert audio and {spec.bits for spec in audio.values()} == {8}
    for found, want in compare(bundle, checkpoints(variant)):
        assert relative(found, want) <= ROUNDED


def test_a_changed_sign_shows(coarse, checkpoints):
    """What the limit above would not let pass."""
    bundle, checkpoint = coarse("tiny-e2b"), checkpoints("tiny-e2b")
    weights = dict(dequantized(bundle))
    weights["model.audio_tower.layers.1.self_attn.v_proj.linear.weight"] *= -1
    for found, want in compare(bundle, checkpoint, weights.items()):
        assert relative(found, want) > 5 * ROUNDED


def shake(sound, noise):
    values = sound.input_features + noise.normal(0, 1e-7, sound.input_features.shape)
    return replace(sound, input_features=values.astype(np.float32) * sound.input_features_mask[:, None])


@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-e4b"])
def test_codes_of_a_checkpoint_equal_hf(variant, coded, tmp_path):
    """At [quantized] products are exact, and activations rounded as calibrated; a bundle has every code unchanged."""
    checkpoint = coded(variant)
    model = to_stage(program(checkpoint), ONNX_CPU, ONNX_CPU.options(weights="stored"), "quantized")
    assert sum(node.op_type == "RoundActivations" for node in model.graph) > 10
    sounds, run, judge = sounds_of(checkpoint), runner(model), Reference(checkpoint.folder)
    expected, noise = hf_features(judge, sounds), np.random.default_rng(0)
    scatter = 0.0  # of the judge itself: noise in the last bits rounds what lies between two steps to either
    for _ in range(6):
        again = hf_features(judge, [shake(sound, noise) for sound in sounds])
        scatter = max(scatter, *(relative(one, want) for one, want in zip(again, expected, strict=True)))
    for sound, want in zip(sounds, expected, strict=True):
        assert relative(run(sound), want) <= 2 * scatter <= 0.01
    bundle = compile(checkpoint, "onnx-cpu", tmp_path / "bundle", modalities=("text", "audio"))
    assert compare_codes(bundle, checkpoint).different == ()
    assert sum("audio" in key for key in bundle.manifest.quantized) > 10
