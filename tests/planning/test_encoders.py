"""What `plan` says of encoders: bytes as compiled, and operations."""

import pytest
from typer.testing import CliRunner

from g4compile.bundle.folder import Bundle
from g4compile.cli.app import app
from g4compile.compiler import compile
from g4compile.errors import InputError
from g4compile.model import presets
from g4compile.model.config import load_config, model_facts
from g4compile.model.contents import tower_facts
from g4compile.planning.plan import plan
from g4compile.weights.recipe import load_recipe
from tests.conftest import VARIANTS, once


@pytest.mark.parametrize("weights", ["float32", "int4", "mobile"])
@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-12b", "tiny-31b"])
def test_sizes_are_exact(variant, weights, checkpoints, shared):
    folder, kernels = checkpoints(variant).folder, None if weights == "float32" else "onnxruntime"
    planned = plan(folder, weights=weights, kernels=kernels)

    def make(path):
        compile(
            folder, "onnx-cpu", path, weights=weights, kernels=kernels, modalities=checkpoints(variant).facts.modalities
        )

    bundle = Bundle.open(once(shared, f"{variant}-{weights}-planned", make))
    assert set(planned.encoders) == set(bundle.manifest.modalities) - {"text"}
    assert planned.data_bytes == bundle.manifest.files["weights.data"].bytes
    assert planned.recipe == bundle.manifest.recipe
    text = plan(folder, weights=weights, kernels=kernels, modalities=("text",))
    assert text.encoders == {} and text.data_bytes == planned.data_bytes - sum(
        one.bytes for one in planned.encoders.values()
    )


def test_sizes_of_codes_of_a_checkpoint_are_exact(coded, shared):
    folder = coded("tiny-e2b").folder

    def make(path):
        compile(folder, "onnx-cpu", path, kernels="onnxruntime")

    bundle = Bundle.open(once(shared, "tiny-e2b-stored-whole", make))
    planned = plan(folder, kernels="onnxruntime")
    assert planned.data_bytes == bundle.manifest.files["weights.data"].bytes


def test_operations_of_an_image():
    """E2B: two for each weight of 16 layers and patch, two products of all patches with all, and the projections."""
    patches, width = 280 * 9, 768
    layers = 16 * (4 * width * width + 3 * width * 3072)
    attention = 16 * 2 * 2 * patches**2 * width
    wanted = 2 * patches * (layers + 768 * width) + attention + 2 * 280 * width * 1536
    assert plan("e2b").encoders["image"].operations == wanted


def test_what_leaves_a_modality_out():
    shown = CliRunner().invoke(app, ["plan", "e2b", "--target", "onnx-cpu", "--weights", "int4"])
    assert "--modalities without image leaves it out" in shown.stdout
    less = CliRunner().invoke(app, ["plan", "e2b", "--target", "onnx-cpu", "--weights", "int4", "--modalities", "text"])
    assert less.exit_code == 0 and "encoder" not in less.stdout
    with pytest.raises(InputError, match="this checkpoint has no audio"):
        plan("31b", modalities=("text", "audio"))


@pytest.mark.parametrize("name", [*VARIANTS, *(name for name in presets.NAMES if not name.startswith("tiny"))])
def test_built_in_recipes_leave_vision_8_bits(name):
    facts = model_facts(load_config(name))
    modules = [
        key.removeprefix("model.").removesuffix(".weight") for key, _ in tower_facts(facts)["vision"].tensors(64)
    ]
    for recipe in ("int2", "int4", "mobile", "mobile-e4b"):
        rules = [load_recipe(recipe).rule(module) for module in modules]
        assert all(rule.format is None or rule.format.bits == 8 for rule in rules)
        assert any(rule.format for rule in rules)
