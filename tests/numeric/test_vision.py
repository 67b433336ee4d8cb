"""Vision encoders at every stage against Hugging Face eager float32, which pads, masks, and pools by position."""

import json

import numpy as np
import pytest

from g4compile.compare.reference import Reference
from g4compile.model import presets
from g4compile.synth.checkpoint import synthesize
from g4compile.targets.lower import to_stage
from g4compile.targets.onnx.target import ONNX_CPU
from g4compile.weights.checkpoint import Checkpoint
from tests.conftest import VARIANTS
from tests.vision import LIMIT, hf_features, images_of, program, runner, spec_of

STAGES = ("traced", "canonical", "quantized", "legal:onnx-cpu")
SIZES = [(60, 40), (33, 90), (64, 64)]
TALL = {"position_embedding_size": 128, "mm_posemb_size": 128}  # positions for the largest budget


def compare(checkpoint, stages, images):
    spec = spec_of(checkpoint)
    made = images(spec)
    expected = hf_features(Reference(checkpoint.folder), made)
    whole = program(checkpoint)
    model = whole.parts["vision"].model
    for stage in stages:
        part = model.clone()
        whole.parts["vision"] = type(whole.parts["vision"])("vision", part, whole.parts["vision"].facts)
        to_stage(whole, ONNX_CPU, ONNX_CPU.options(), stage)
        run = runner(part)
        for image, want in zip(made, expected, strict=True):
            found = run(image, spec)
            assert found.shape == want.shape == (image.tokens, checkpoint.facts.text.hidden_size)
            assert np.abs(found - want).max() <= LIMIT, stage
            assert np.abs(want).max() > 100 * LIMIT


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_stage_equals_hf(variant, checkpoints):
    compare(checkpoints(variant), STAGES, lambda spec: images_of(spec, SIZES, budget=70))


@pytest.fixture(scope="module")
def tall(tmp_path_factory):
    """Checkpoints of tiny models that have positions for every budget."""

    def get(variant):
        folder = tmp_path_factory.mktemp(variant)
        config = presets.config(variant)
        vision = config["vision_config"]
        vision.update({name: value for name, value in TALL.items() if name in vision})
        (folder / "config.json").write_text(json.dumps(config))
        synthesize(folder / "config.json", folder / "checkpoint", seed=3)
        return Checkpoint.open(folder / "checkpoint")

    return get


BUDGETS = [70, 140, 280, pytest.param(560, marks=pytest.mark.nightly), pytest.param(1120, marks=pytest.mark.nightly)]


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-31b", "tiny-12b"])
def test_every_budget_equals_hf(variant, budget, tall):
    compare(tall(variant), STAGES[-1:], lambda spec: images_of(spec, [(150, 100)], budget))
