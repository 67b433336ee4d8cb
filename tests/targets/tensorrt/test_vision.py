"""Vision encoders as networks, interpreted on the CPU, against Hugging Face eager: exactly, and rounded to bfloat16."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from g4compile.bundle.media import BUDGETS
from g4compile.compare.reference import Reference
from g4compile.model import presets
from g4compile.model.config import load_config, model_facts
from g4compile.runtime.media.patches import in_token_order
from g4compile.synth.checkpoint import synthesize
from g4compile.targets.lower import lower
from g4compile.targets.tensorrt.edition import RTX
from g4compile.targets.tensorrt.encoders import profiles_of
from g4compile.targets.tensorrt.interpreter.candidates import interpretable_builder
from g4compile.targets.tensorrt.interpreter.interpreter import Interpreter
from g4compile.targets.tensorrt.interpreter.session import weight_of
from g4compile.targets.tensorrt.target import EngineTarget
from g4compile.weights.checkpoint import Checkpoint
from tests.conftest import VARIANTS
from tests.targets.tensorrt.test_parity import EXACT, SHARE
from tests.vision import hf_features, images_of, program, spec_of

SIZES = [(60, 40), (33, 90), (64, 64)]
TALL = {"position_embedding_size": 128, "mm_posemb_size": 128}  # positions for the largest budget
GPUS = (80, 89, 120)


@pytest.fixture(scope="module")
def vision(trt):
    """The network of a checkpoint's vision encoder, and the builder that it must not outlive."""

    def get(checkpoint, fused_head=256):
        target = EngineTarget(replace(RTX, fused=replace(RTX.fused, head=fused_head)))
        options = target.options(context=256, compute_capabilities=(89,), modalities=("text", "image"))
        (lowered,) = lower(program(checkpoint), target, options)
        builder = interpretable_builder(False)
        return builder.network(lowered.model.graph), builder

    return get


def runner(trt, one, spec, exact):
    """A function from `ImageInputs` to features, which runs the network."""
    interpreter = Interpreter(trt, [one.network], [one.constants], exact)
    weights = {name: weight_of(tensor, exact) for name, tensor in one.weights.items()}

    def run(image):
        values, places = in_token_order(image, spec)
        (found,) = interpreter.run([{**weights, "pixel_values": values, "pixel_position_ids": places}])
        return found["image_features"].float().numpy()

    return run


def narrow_features(folder, images):
    """What Hugging Face says in bfloat16."""
    reference = Reference(folder)
    reference.model.to(torch.bfloat16)
    values, places = (
        torch.from_numpy(np.stack([getattr(image, name) for image in images]))
        for name in ("pixel_values", "pixel_position_ids")
    )
    with torch.no_grad():
        found = reference.model.model.get_image_features(values, places, return_dict=True).pooler_output
    return [one.float().numpy() for one in found]


def compare(trt, one, checkpoint, images):
    """Whether exact features are those of HF, and rounded ones no worse than HF's in bfloat16."""
    spec = spec_of(checkpoint)
    expected = hf_features(Reference(checkpoint.folder), images)
    theirs = narrow_features(checkpoint.folder, images)
    exact, rounded = (runner(trt, one, spec, kind) for kind in (True, False))
    errors = np.zeros(2)
    for image, want, narrow in zip(images, expected, theirs, strict=True):
        found = exact(image)
        assert found.shape == want.shape == (image.tokens, checkpoint.facts.text.hidden_size)
        assert np.abs(found - want).max() <= EXACT
        assert np.abs(want).max() > 100 * EXACT
        errors += [np.abs(rounded(image) - want).sum(), np.abs(narrow - want).sum()]
    assert 0 < errors[0] <= SHARE * errors[1], errors[0] / errors[1]


@pytest.mark.parametrize("fused_head", [256, 8])
@pytest.mark.parametrize("variant", VARIANTS)
def test_network_equals_hf(variant, fused_head, trt, vision, checkpoints):
    """With heads that a layer attends, and with products, as heads wider than that layer takes would be."""
    checkpoint = checkpoints(variant)
    one, _ = vision(checkpoint, fused_head)
    compare(trt, one, checkpoint, images_of(spec_of(checkpoint), SIZES, budget=70))


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """A checkpoint of a tiny model whose vision config has other values."""

    def get(variant, changes):
        folder = tmp_path_factory.mktemp(variant)
        config = presets.config(variant)
        vision = config["vision_config"]
        vision.update({name: value for name, value in changes.items() if name in vision})
        (folder / "config.json").write_text(json.dumps(config))
        synthesize(folder / "config.json", folder / "checkpoint", seed=3)
        return Checkpoint.open(folder / "checkpoint")

    return get


NIGHTLY = [pytest.param(budget, marks=pytest.mark.nightly) for budget in (560, 1120)]


@pytest.mark.parametrize("budget", [70, 140, 280, *NIGHTLY])
@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-31b", "tiny-12b"])
def test_every_budget_has_a_profile_and_equals_hf(variant, budget, trt, vision, changed):
    checkpoint = changed(variant, TALL)
    one, _ = vision(checkpoint)
    images = images_of(spec_of(checkpoint), [(150, 100), (20, 90)], budget)
    for image in images:
        patches = int((image.pixel_position_ids[:, 0] >= 0).sum())
        fitting = [
            index
            for index, profile in enumerate(profiles_of(checkpoint.facts, "vision"))
            if all(
                least <= {"tokens": image.tokens, "patches": patches}[name] <= most
                for name, (least, _, most) in profile.items()
            )
        ]
        assert len(fitting) == 1 and BUDGETS[fitting[0]] <= budget
    compare(trt, one, checkpoint, images)


def test_profiles_are_ranges_without_gaps():
    for preset, pool in (("e2b", 9), ("31b", 9), ("12b", 1)):
        profiles = profiles_of(model_facts(load_config(preset), where=preset), "vision")
        tokens = [profile["tokens"] for profile in profiles]
        assert [most for _, _, most in tokens] == list(BUDGETS)
        assert [least for least, _, _ in tokens] == [1, *(budget + 1 for budget in BUDGETS[:-1])]
        for profile in profiles:
            assert profile.get("patches", profile["tokens"]) == tuple(pool * size for size in profile["tokens"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_plan_has_all_profiles(variant, vision, checkpoints):
    one, builder = vision(checkpoints(variant))
    profiles = profiles_of(checkpoints(variant).facts, "vision")
    assert 10_000 < len(builder.plan(one, "vision", profiles, GPUS)) < 60e6
    with pytest.raises(Exception, match="does not build the vision network"):
        builder.plan(one, "vision", [dict.fromkeys(profiles[0], (3, 2, 1))], GPUS)


def test_weights_are_inputs_once(vision, checkpoints):
    """Whatever the number of profiles; in bfloat16, but what the standardisation computes with."""
    checkpoint = checkpoints("tiny-31b")
    one, _ = vision(checkpoint)
    inputs = [one.network.get_input(index).name for index in range(one.network.num_inputs)]
    assert sorted(inputs) == sorted({*one.weights, "pixel_values", "pixel_position_ids"})
    wide = {name for name, tensor in one.weights.items() if str(tensor.dtype) == "FLOAT"}
    assert wide == {f"model.vision_tower.std_{name}" for name in ("bias", "scale")}
    stored = {name for name in checkpoint.tensors if "vision" in name}
    assert set(one.weights) == stored
    assert math.prod(one.weights["model.embed_vision.embedding_projection.weight"].shape.numpy()) == 64 * 32


def test_pooling_and_standardisation_are_in_float32(trt, vision, checkpoints):
    """Published biases are up to 5e4, where numbers of bfloat16 are 256 apart."""
    one, _ = vision(checkpoints("tiny-31b"))
    layers = [one.network.get_layer(index) for index in range(one.network.num_layers)]
    read = {layer.name: [tensor.name for tensor in inputs(layer)] for layer in layers}
    dtypes = {layer.name: layer.get_output(0).dtype for layer in layers}
    (standardized,) = (name for name in read if any("std_scale" in one for one in read[name]) and "std" not in name)
    chain, found = [standardized], []
    for name in chain:  # back to the sum that runs through the layers
        found.append(name)
        before = [one.removesuffix(":0") for one in read[name] if "std_" not in one and "const." not in one]
        chain += before[:1] if ".layers." not in name else []
    assert len(found) == 6 and {dtypes[name] for name in found} == {trt.float32}, found


def inputs(layer):
    return [tensor for place in range(layer.num_inputs) if (tensor := layer.get_input(place)) is not None]
