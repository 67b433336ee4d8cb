"""Images and sounds as libg4rt reads them, against Pillow and the Python runtime."""

import numpy as np
import PIL
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from PIL import Image

from g4compile.bundle.media import BUDGETS, MelSpec, PatchSpec, WaveSpec
from g4compile.runtime.media import mel
from g4compile.runtime.media.mel import mel_inputs
from g4compile.runtime.media.patches import image_inputs, in_token_order, target_size
from g4compile.runtime.media.waves import wave_inputs
from tests.native.rt.media_parts import BAD_ARGUMENT, BAD_BUNDLE, Refused
from tests.runtime.media.specs import MEL, TOWER, UNIFIED, WAVE

SLOW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


# Before 13 Pillow changed the width first where the height loses more; the test of `resize` holds for all versions.
newest = pytest.mark.skipif(int(PIL.__version__.split(".")[0]) < 13, reason="Pillow before 13 has another order")


def noise(height, width, seed=0):
    """Hard edges: the cubic goes beyond 0 and 255."""
    drawn = np.random.default_rng(seed)
    return (drawn.integers(0, 256, (height, width, 3)) * drawn.integers(0, 2, (height, width, 1))).astype(np.uint8)


@SLOW
@given(sizes=st.tuples(*[st.integers(1, 300)] * 4))
@example(sizes=(1, 1, 48, 96))
@example(sizes=(1, 9000, 48, 13_440))
@example(sizes=(700, 3, 7, 2))
@example(sizes=(160, 80, 10, 5))
@example(sizes=(160, 80, 9, 5))
@example(sizes=(64, 48, 64, 96))
@example(sizes=(64, 48, 96, 48))
def test_resizing_is_pillows(parts, sizes):
    height, width, high, wide = sizes
    tall = height > high and height - high > 2 * (width - wide)
    for pixels in (noise(height, width), np.full((height, width, 3), 255, np.uint8)):
        wanted = pixels
        for size in ((width, high) if tall else (wide, height), (wide, high)):
            wanted = np.asarray(Image.fromarray(wanted).resize(size, Image.Resampling.BICUBIC))
        np.testing.assert_array_equal(parts.resize(pixels, high, wide), wanted)


def check_patches(parts, pixels, spec, budget):
    ours = image_inputs(pixels, spec, budget or None)
    wanted = (*in_token_order(ours, spec), ours.tokens)
    for found, want in zip(parts.patches(pixels, spec, budget), wanted, strict=True):
        np.testing.assert_array_equal(found, want)


SIDES = st.one_of(st.integers(1, 60), st.integers(1, 700))
STRIPS = st.tuples(st.integers(1, 3), st.integers(1, 9000))


@newest
@SLOW
@given(size=st.one_of(st.tuples(SIDES, SIDES), STRIPS), turned=st.booleans(), budget=st.sampled_from(BUDGETS[:3]))
@example(size=(1, 1), turned=False, budget=280)
@example(size=(1, 20_000), turned=True, budget=280)
@example(size=(48, 48 * 280), turned=False, budget=280)
def test_patches_are_pythons(parts, size, turned, budget):
    for spec in (TOWER, UNIFIED):
        check_patches(parts, noise(*(size[::-1] if turned else size)), spec, budget)


@newest
@pytest.mark.parametrize("budget", [0, *BUDGETS])
def test_every_budget(parts, budget):
    for spec in (TOWER, UNIFIED, PatchSpec(4, 3, 70, 4096)):
        check_patches(parts, noise(135, 240), spec, budget)


@newest
@pytest.mark.parametrize("size", [(1200, 1600), (1600, 720)])
def test_pictures_are_made_smaller(parts, size):
    check_patches(parts, noise(*size), TOWER, 280)


@settings(max_examples=400, deadline=None)
@given(height=st.integers(1, 32_768), width=st.integers(1, 32_768), tokens=st.integers(1, 1120))
@example(height=1, width=32_768, tokens=1120)
@example(height=32_768, width=1, tokens=1)
def test_sizes_are_pythons(parts, height, width, tokens):
    for spec in (PatchSpec(16, 3, tokens, 1), PatchSpec(48, 1, tokens, 1), PatchSpec(7, 5, tokens, 1)):
        assert parts.target_size(height, width, spec) == target_size(height, width, spec)


@pytest.mark.parametrize(
    ("size", "spec", "budget", "status", "words"),
    [
        ((0, 4), TOWER, 0, BAD_ARGUMENT, "the image is empty: it has 4 x 0 pixels"),
        ((4, -1), TOWER, 0, BAD_ARGUMENT, "the image is empty"),
        ((1, 32_769), TOWER, 0, BAD_ARGUMENT, "too large: it has 32,769 x 1 pixels.* a side of at most 32,768"),
        ((10_000, 8001), TOWER, 0, BAD_ARGUMENT, "too large.*at most 80,000,000 in all"),
        ((1 << 62, 1 << 62), TOWER, 0, BAD_ARGUMENT, "too large"),
        ((1, 9000), PatchSpec(16, 3, 280, 64), 0, BAD_ARGUMENT, "840 patches long.* 9,000 x 1 .*64 positions.*cut"),
        ((4, 4), TOWER, 71, BAD_ARGUMENT, "budget is 71: give one of 70, 140, 280, 560, 1120, or 0"),
        ((4, 4), TOWER, -70, BAD_ARGUMENT, "budget is -70"),
        ((4, 4), PatchSpec(1024, 64, 1120, 1 << 20), 0, BAD_BUNDLE, "media.image of g4.json asks for more pixels"),
        ((2, 32_768), PatchSpec(1024, 2, 70, 1 << 20), 0, BAD_BUNDLE, "asks for more pixels"),
    ],
)
def test_images_that_are_refused(parts, size, spec, budget, status, words):
    """Before a pixel is read."""
    with pytest.raises(Refused, match=words) as refused:
        parts.patches_of(np.zeros(48, np.uint8), size[1], size[0], spec, budget)
    assert refused.value.status == status


def tone(count, seed=0):
    """A tone, noise, silence and jumps, in one."""
    drawn, at = np.random.default_rng(seed), np.arange(count)
    wave = np.sin(2 * np.pi * 440 / 16_000 * at) * drawn.uniform(0, 1) + drawn.normal(0, 0.05, count)
    wave[count // 3 : count // 2] = 0
    return (wave * drawn.choice([1e-4, 1.0, 1.0, 1e3])).astype(np.float32)


def constant(count, value):
    return np.full(count, value, np.float32)


def apart(found, wanted):
    """The largest difference, in units in the last place of float32; below 2 in those of numbers from 2 to 4."""
    return (np.abs(found - wanted) / np.spacing(np.maximum(np.abs(wanted), np.float32(2)))).max()


def in_double(wave, spec):
    """What `mel_inputs` would give if NumPy did not transform float32 in float32."""
    before, frames = spec.frame_length // 2, len(mel_inputs(wave, spec).input_features)
    padded = np.concatenate([np.zeros(before, np.float32), wave, np.zeros(spec.frame_length, np.float32)])
    rows = np.stack([padded[i * spec.hop_length :][: spec.frame_length] for i in range(frames)])
    windowed = (rows * mel._window(spec.frame_length)).astype(np.float64)
    magnitudes = np.abs(np.fft.rfft(windowed, n=spec.fft_length))
    return np.log(magnitudes @ mel._filters(spec) + spec.mel_floor).astype(np.float32)


def check_mel(parts, wave, spec):
    ours, (values, tokens) = mel_inputs(wave, spec), parts.sound(wave, spec)
    wanted = ours.input_features[ours.input_features_mask]
    assert values.shape == wanted.shape and tokens == ours.tokens
    assert apart(values, wanted) <= 1
    exact = in_double(wave, spec)[: len(values)]
    assert apart(values, exact) <= 1 and (values != exact).mean() < 1e-3


SHORT = [161, 162, 319, 320, 321, 640, 799, 800, 801, 1121, 1600, 2047, 2048, 2049, 4000, 7999, 16_000, 16_001, 31_999]
WIDER = MelSpec(16_000, 512, 160, 1024, 128, 0.0, 8000.0, 1e-3, 480_000)  # frames of 32 ms


@pytest.mark.parametrize("count", [*SHORT, 480_000])
def test_sounds_are_pythons(parts, count):
    wave = tone(count, count)
    ours, (values, tokens) = wave_inputs(wave, WAVE), parts.sound(wave, WAVE)
    np.testing.assert_array_equal(values, ours.input_features)
    assert tokens == ours.tokens
    check_mel(parts, wave, MEL)


@pytest.mark.parametrize(
    "wave", [constant(3000, 1), constant(3000, 1e6), tone(9000) * 1e3, constant(700, 0)], ids=range(4)
)
def test_loud_sounds_and_silence(parts, wave):
    for spec in (MEL, WIDER):
        check_mel(parts, wave, spec)


# Powers of two, multiples, odd numbers, primes; less than a frame; few points.
@pytest.mark.parametrize("points", [1, 2, 3, 4, 6, 8, 100, 256, 400, 509, 510, 640, 1000, 4096])
def test_any_number_of_points(parts, points):
    spec = MelSpec(16_000, 320, 160, points, 3, 0.0, 8000.0, 1e-3, 480_000)
    values, _ = parts.sound(tone(3000), spec)
    assert apart(values, in_double(tone(3000), spec)[: len(values)]) <= 1


def test_a_wave_of_another_model(parts):
    spec = WaveSpec(16_000, 7, 480_000)
    np.testing.assert_array_equal(parts.sound(tone(50), spec)[0], wave_inputs(tone(50), spec).input_features)


def mel_spec(**other):
    return replace(MEL, **other)


def spoilt(value, at=100):
    wave = tone(800)
    wave[at:] = value
    return wave


@pytest.mark.parametrize(
    ("wave", "spec", "status", "words"),
    [
        (tone(0), MEL, BAD_ARGUMENT, "the sound is empty"),
        (tone(0), WAVE, BAD_ARGUMENT, "the sound is empty"),
        (tone(160), MEL, BAD_ARGUMENT, "too short: it has 160 samples, 10.0 ms. Give at least 10.1 ms"),
        (
            tone(480_001),
            MEL,
            BAD_ARGUMENT,
            "longer than the 30.0 seconds that the model takes: it has 30.0 seconds, 480,001 samples",
        ),
        (tone(480_001), WAVE, BAD_ARGUMENT, "longer than the 30.0 seconds"),
        (spoilt(np.nan), MEL, BAD_ARGUMENT, "no numbers of a wave: sample 100 is NaN, the first of 700"),
        (spoilt(-np.inf, 799), WAVE, BAD_ARGUMENT, r"sample 799 is -infinity, the first of 1\."),
        (spoilt(1.5e6), MEL, BAD_ARGUMENT, "sample 100 is 1,500,000, the first of 700"),
        (spoilt(3e38), MEL, BAD_ARGUMENT, "sample 100 is beyond 1,000,000,000,000"),
        (tone(800), mel_spec(fft_length=65_537), BAD_BUNDLE, "fft_length is 65,537, and at most 65,536 is computed"),
        (tone(480_000), mel_spec(hop_length=1, feature_size=4096), BAD_BUNDLE, "hop_length 1 makes 479,840 frames"),
        (tone(480_000), mel_spec(hop_length=1, fft_length=1024), BAD_BUNDLE, "more than are computed"),
        (tone(800), mel_spec(min_frequency=8000.0), BAD_BUNDLE, "min_frequency is not below max_frequency"),
        (tone(800), mel_spec(min_frequency=7999.999999999999, feature_size=4096), BAD_BUNDLE, "feature_size is more"),
    ],
    ids=range(14),
)
def test_sounds_that_are_refused(parts, wave, spec, status, words):
    with pytest.raises(Refused, match=words) as refused:
        parts.sound(wave, spec)
    assert refused.value.status == status
