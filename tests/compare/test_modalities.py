"""`verify` of bundles that take images and sounds: features and logits by modality."""

import math

import numpy as np
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from g4compile.bundle.folder import Bundle
from g4compile.cli.app import app
from g4compile.compare.modalities import FeatureLimits, compare_features, media_prompts
from g4compile.compare.verify import verify
from g4compile.compiler import compile
from g4compile.errors import InputError
from tests.compare.changed import with_negated
from tests.conftest import once


@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-12b"])
def test_each_modality_is_compared(variant, hearing, checkpoints):
    report = verify(hearing(variant), checkpoints(variant).folder, new_tokens=2)
    assert report.passed and report.verdict.startswith("equal")
    assert list(report.parity)[-2:] == ["image", "audio"] == list(report.features)
    for modality in report.features:
        assert 0 < report.features[modality].relative_difference < 1e-5
        assert report.parity[modality].positions == report.features[modality].tokens + 12
    assert report.feature_cost is None


@pytest.mark.parametrize(
    ("part", "name", "modality"),
    [
        ("vision", "model.embed_vision.embedding_projection.weight", "image"),
        ("vision", "model.vision_tower.encoder.layers.1.self_attn.v_proj.linear.weight", "image"),
        ("audio", "model.audio_tower.layers.0.lconv1d.linear_end.linear.weight", "audio"),
    ],
)
def test_a_changed_encoder_is_named(part, name, modality, hearing, checkpoints, tmp_path):
    changed = with_negated(hearing("tiny-e2b"), name, tmp_path / "bundle", part)
    report = verify(changed, checkpoints("tiny-e2b").folder, new_tokens=2)
    assert not report.passed and report.features[modality].relative_difference > 0.1
    assert all(text.startswith(f"{modality}: ") for text in report.broken)
    assert any(text.startswith(f"{modality}: features: relative difference") for text in report.broken)


def test_what_codes_of_encoders_cost(shared, checkpoints):
    folder = checkpoints("tiny-e2b").folder

    def make(path):
        compile(folder, "onnx-cpu", path, weights="int4", kernels="onnxruntime")

    bundle = Bundle.open(once(shared, "tiny-e2b-int4-whole", make))
    report = verify(bundle, folder, new_tokens=2)
    assert report.passed
    for modality, parity in report.features.items():
        assert parity.relative_difference < 0.03 < 10 * report.feature_cost[modality].relative_difference
        assert report.feature_cost[modality].relative_difference > parity.relative_difference
    shown = CliRunner().invoke(app, ["verify", str(bundle.folder), "--against", str(folder)]).stdout
    for text in ("features of image", "features of audio, original weights", "image  ", "64 tokens: max"):
        assert text in shown


def test_limits_of_features():
    limits, want = FeatureLimits(0.01, 0.5), np.ones((3, 4), np.float32)
    assert compare_features(want, want * 1.005).broken(limits) == []
    assert "relative difference 0.02 > 0.01" in compare_features(want, want * 1.02).broken(limits)[0]
    one = want.copy()
    one[0, 0] = 2
    assert "max difference 1 > 0.5" in compare_features(want, one).broken(limits)[0]
    one[0, 0] = math.nan
    assert compare_features(want, one).broken(limits) == ["some features are not finite numbers"]
    assert compare_features(want, want[:2]).broken(limits) == ["some features are not finite numbers"]


def test_a_context_without_room(hearing):
    """What does not go into the context is left out, and said: the rest is compared."""
    manifest = hearing("tiny-e2b").manifest
    assert list(media_prompts(replace(manifest, context=80), 0)) == ["image", "audio"]
    assert list(media_prompts(replace(manifest, context=60), 0)) == ["audio"]


@pytest.mark.parametrize(
    ("bundle", "other"), [("tiny-e2b", "tiny-31b"), ("tiny-e2b", "tiny-12b"), ("tiny-12b", "tiny-e2b")]
)
def test_another_models_checkpoint_is_refused(bundle, other, hearing, checkpoints):
    with pytest.raises(InputError, match="the bundle was not compiled from this checkpoint"):
        verify(hearing(bundle), checkpoints(other).folder)


@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-e4b"])
def test_codes_of_a_checkpoint(variant, coded, shared):
    folder = coded(variant).folder

    def make(path):
        compile(folder, "onnx-cpu", path, kernels="onnxruntime")

    report = verify(Bundle.open(once(shared, f"{variant}-stored-whole", make)), folder, new_tokens=2)
    assert not report.broken and set(report.features) == {"image", "audio"}
    assert all(0.001 < one.relative_difference < 0.2 for one in report.features.values())
