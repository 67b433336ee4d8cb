"""Features of waves against transformers' extractors: values, masks and counts of tokens."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor
from transformers.models.gemma4.processing_gemma4 import Gemma4Processor
from transformers.models.gemma4_unified.feature_extraction_gemma4_unified import Gemma4UnifiedAudioFeatureExtractor
from transformers.models.gemma4_unified.processing_gemma4_unified import Gemma4UnifiedProcessor

from g4compile.bundle.media import MelSpec, WaveSpec
from g4compile.errors import InputError
from g4compile.runtime.media.mel import mel_inputs
from g4compile.runtime.media.waves import wave_inputs
from tests.runtime.media.specs import MEL, WAVE

EXTRACTOR, FRAMES = Gemma4AudioFeatureExtractor(), Gemma4UnifiedAudioFeatureExtractor()


def noise(samples, seed=0, loudness=1.0):
    random = np.random.default_rng(seed)
    envelope = np.abs(np.sin(np.arange(samples) / 900))
    return (loudness * envelope * random.standard_normal(samples)).astype(np.float32)


def placeholders(processor, features):
    """How many tokens transformers' processor writes for a sound."""
    whole = object.__new__(processor)
    whole.boa_token, whole.audio_token, whole.eoa_token = "<", "a", ">"
    return whole.replace_audio_token(features, 0).count("a")


def check_mel(wave, spec=MEL, extractor=EXTRACTOR):
    theirs = extractor([wave], return_tensors="np")
    ours = mel_inputs(wave, spec)
    assert ours.input_features.dtype == np.float32 and ours.input_features_mask.dtype == np.bool_
    np.testing.assert_array_equal(ours.input_features_mask, theirs["input_features_mask"][0])
    assert ours.input_features.shape == theirs["input_features"][0].shape
    np.testing.assert_allclose(ours.input_features, theirs["input_features"][0], rtol=0, atol=1e-4)
    assert ours.tokens == placeholders(Gemma4Processor, theirs) > 0


def check_frames(wave, spec=WAVE, extractor=FRAMES):
    theirs = extractor([wave], return_tensors="np")
    ours = wave_inputs(wave, spec)
    assert ours.input_features.dtype == np.float32 and ours.input_features_mask.dtype == np.bool_
    np.testing.assert_array_equal(ours.input_features, theirs["input_features"][0])
    np.testing.assert_array_equal(ours.input_features_mask, theirs["input_features_mask"][0])
    assert ours.tokens == placeholders(Gemma4UnifiedProcessor, theirs)


@settings(max_examples=60, deadline=None)
@given(
    samples=st.one_of(st.integers(161, 2000), st.integers(161, 60_000)),
    loudness=st.sampled_from([0.0, 1e-6, 0.1, 1.0, 1e4]),
)
@example(samples=161, loudness=1.0)
@example(samples=480_000, loudness=1.0)
@example(samples=16_000, loudness=1.0)
def test_mel_is_that_of_transformers(samples, loudness):
    check_mel(noise(samples, samples, loudness))


@settings(max_examples=60, deadline=None)
@given(samples=st.one_of(st.integers(1, 2000), st.integers(1, 60_000)))
@example(samples=1)
@example(samples=640)
@example(samples=641)
@example(samples=480_000)
def test_frames_are_those_of_transformers(samples):
    check_frames(noise(samples, samples))


@pytest.mark.parametrize(("seconds", "frames", "tokens"), [(1, 99, 25), (10, 999, 250), (30, 2999, 750)])
def test_published_counts(seconds, frames, tokens):
    found = mel_inputs(noise(seconds * 16_000), MEL)
    assert (int(found.input_features_mask.sum()), found.tokens) == (frames, tokens)
    assert wave_inputs(noise(seconds * 16_000), WAVE).tokens == seconds * 25


def test_other_settings():
    """Whatever a processor_config.json may state."""
    extractor = Gemma4AudioFeatureExtractor(
        feature_size=64, sampling_rate=8000, frame_length_ms=32.0, hop_length_ms=12.5, min_frequency=125.0,
        max_frequency=3800.0, mel_floor=1e-5,
    )  # fmt: skip
    spec = MelSpec(8000, 256, 100, 256, 64, 125.0, 3800.0, 1e-5, 480_000)
    for samples in (300, 5000, 5001):
        check_mel(noise(samples), spec, extractor)
    check_frames(noise(777), WaveSpec(16_000, 40, 30_000), Gemma4UnifiedAudioFeatureExtractor(40, 16_000, 0.0, 40))


def test_doubles_are_rounded_first():
    wave = noise(5000).astype(np.float64) / 3
    np.testing.assert_array_equal(
        mel_inputs(wave, MEL).input_features, mel_inputs(wave.astype(np.float32), MEL).input_features
    )


@pytest.mark.parametrize("samples", [1, 100, 160])
def test_too_short_for_a_token(samples):
    assert not np.any(EXTRACTOR([noise(samples)])["input_features_mask"][0][::4])  # transformers makes none of it
    with pytest.raises(InputError, match=rf"(?s)too short.*it has {samples} samples.*try: give at least 10\.1 ms"):
        mel_inputs(noise(samples), MEL)


@pytest.mark.parametrize(("make", "spec"), [(mel_inputs, MEL), (wave_inputs, WAVE)], ids=["mel", "wave"])
def test_bad_waves(make, spec):
    for wave, message in (
        (np.zeros(480_001, np.float32), "longer than the 30 seconds"),
        (np.zeros(0, np.float32), "the sound is empty"),
        (np.full(999, np.nan, np.float32), r"(?s)no numbers of a wave.*sample 0 is nan, the first of 999"),
        (np.zeros((2, 999), np.float32), "a wave must be an array"),
    ):
        with pytest.raises(InputError, match=message):
            make(wave, spec)
    assert make(noise(999), spec, ("said",)).notes == ("said",)
