"""Patches against transformers' image processors: values, places, counts, for every budget and form."""

import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil

from g4compile.bundle.media import BUDGETS, PatchSpec
from g4compile.errors import InputError, MachineError
from g4compile.runtime.media.patches import image_inputs, target_size
from tests.runtime.media.hugging_face import unified_image_processing
from tests.runtime.media.specs import TOWER, UNIFIED

TINY = PatchSpec(patch_size=4, pooling_kernel_size=3, max_soft_tokens=70, positions=4096)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def theirs(pixels, budget, patch=16):
    """What Gemma4ImageProcessorPil makes of an image: values, positions, tokens."""
    processor = Gemma4ImageProcessorPil(max_soft_tokens=budget, patch_size=patch)
    made = processor(Image.fromarray(pixels), return_tensors="np")
    return made["pixel_values"][0], made["image_position_ids"][0], made["num_soft_tokens_per_image"][0]


def theirs_unified(pixels, budget, patch=16):
    """The same of 12B: patches of the other processor, merged by transformers' own code."""
    values, positions, tokens = theirs(pixels, budget, patch)
    real = tokens * 9
    return (*unified_image_processing().merged(values[:real], positions[:real], budget), tokens)


def check(pixels, budget):
    for spec, made in ((TOWER, theirs(pixels, budget)), (UNIFIED, theirs_unified(pixels, budget))):
        ours = image_inputs(pixels, spec, budget)
        assert ours.pixel_values.dtype == np.float32 and ours.pixel_position_ids.dtype == np.int64
        assert ours.pixel_values.shape == (budget * spec.pooling_kernel_size**2, spec.patch_size**2 * 3)
        np.testing.assert_array_equal(ours.pixel_values, made[0])
        np.testing.assert_array_equal(ours.pixel_position_ids, made[1])
        assert ours.tokens == made[2] <= budget


SIDES = st.one_of(st.integers(1, 60), st.integers(1, 900))
STRIPS = st.tuples(st.integers(1, 3), st.integers(1, 9000))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(size=st.one_of(st.tuples(SIDES, SIDES), STRIPS), turned=st.booleans(), budget=st.sampled_from(BUDGETS[:3]))
@example(size=(1, 1), turned=False, budget=280)
@example(size=(1, 20_000), turned=True, budget=280)
@example(size=(15, 7), turned=False, budget=70)
@example(size=(48, 48 * 280), turned=False, budget=280)
def test_any_size(size, turned, budget):
    check(noise(*(size[::-1] if turned else size)), budget)


@pytest.mark.parametrize("budget", BUDGETS)
def test_every_budget(budget):
    check(noise(216, 384), budget)


@pytest.mark.nightly
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    size=st.one_of(st.tuples(*[st.integers(1, 2500)] * 2), STRIPS),
    turned=st.booleans(),
    budget=st.sampled_from(BUDGETS),
)
def test_many_sizes(size, turned, budget):
    check(noise(*(size[::-1] if turned else size)), budget)


@pytest.mark.parametrize(("budget", "rows"), [*zip(BUDGETS, (7, 10, 14, 20, 28), strict=True)])
def test_an_image_of_its_final_size_is_not_touched(budget, rows, monkeypatch):
    """Its values are those of the pixels, and no library is asked."""
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    pixels = noise(rows * 48, budget // rows * 48)
    ours = image_inputs(pixels, TOWER, budget)
    for place, (column, row) in zip(ours.pixel_values, ours.pixel_position_ids, strict=True):
        square = pixels[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16]
        np.testing.assert_array_equal(place.reshape(16, 16, 3), square.astype(np.float32) / np.float32(255))
    assert ours.tokens == budget


@pytest.mark.parametrize(("budget", "tokens"), [(70, 66), (140, 120), (280, 264), (560, 527), (1120, 1100)], ids=str)
def test_tokens_of_a_frame_of_video(budget, tokens):
    """1920 x 1080, as published counts have it."""
    height, width = target_size(1080, 1920, PatchSpec(16, 3, budget, 10_240))
    assert height * width // 48**2 == tokens


@settings(max_examples=200, deadline=None)
@given(height=st.integers(1, 40_000), width=st.integers(1, 40_000), budget=st.sampled_from(BUDGETS))
def test_sizes_are_those_of_transformers(height, width, budget):
    from transformers.models.gemma4.image_processing_pil_gemma4 import get_aspect_ratio_preserving_size

    want = get_aspect_ratio_preserving_size(height, width, 16, budget * 9, 3)
    for patch, pool in ((16, 3), (48, 1)):
        found = target_size(height, width, PatchSpec(patch, pool, budget, 1))
        assert found == want and 1 <= found[0] * found[1] // 48**2 <= budget


def test_a_tiny_model():
    pixels = noise(50, 41)
    ours = image_inputs(pixels, TINY)
    values, positions, tokens = theirs(pixels, 70, 4)
    np.testing.assert_array_equal(ours.pixel_values, values)
    np.testing.assert_array_equal(ours.pixel_position_ids, positions)
    assert ours.tokens == tokens


def test_what_was_said_of_the_file_goes_on():
    assert image_inputs(noise(48, 48), TOWER, notes=("one",)).notes == ("one",)


def test_more_patches_than_the_model_has_positions_for():
    few = PatchSpec(16, 3, 280, positions=64)
    assert image_inputs(noise(480, 480), few).tokens == 256
    with pytest.raises(
        InputError, match=r"(?s)too long.*840 patches.*9,000 x 1 pixels.*64 positions.*try: cut the image"
    ):
        image_inputs(noise(1, 9000), few)


@pytest.mark.parametrize("budget", [0, 1, 71, 280.0, "280", True, -70, 10**30])
def test_budgets_that_are_none(budget):
    with pytest.raises(InputError, match=r"(?s)budget is .*one of 70, 140, 280, 560, 1120"):
        image_inputs(noise(48, 48), TOWER, budget)


@pytest.mark.parametrize(
    "pixels",
    [
        None,
        [[0]],
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((3, 4, 4), np.float32),
        np.zeros((1, 4, 4, 3), np.uint8),
    ],
    ids=range(6),
)
def test_pixels_that_are_none(pixels):
    with pytest.raises(InputError, match=r"pixels must be an array of uint8 \[height, width, 3\], got"):
        image_inputs(pixels, TOWER)


def test_no_pixels():
    for shape in ((0, 4, 3), (4, 0, 3)):
        with pytest.raises(InputError, match="the image is empty"):
            image_inputs(np.zeros(shape, np.uint8), TOWER)


def test_resizing_without_pillow(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MachineError, match=r"pip install 'g4compile\[media\]'"):
        image_inputs(noise(5, 5), TOWER)
