"""Sounds, and what Hugging Face makes of them: the judge of audio encoders."""

from __future__ import annotations

import io

import numpy as np
import soundfile

from g4compile.bundle.media import MelSpec
from g4compile.compare.media_reference import audio_features
from g4compile.compare.reference import Reference
from g4compile.runtime.media.mel import mel_inputs
from g4compile.runtime.media.waves import wave_inputs
from g4compile.weights.processors import read_media
from tests.encoders import encoder_of, session_of

RATE = 16_000


def wave(seconds, seed=0):
    """A tone that rises, over noise, float32 [samples] at 16 kHz."""
    random = np.random.default_rng(seed)
    at = np.arange(round(seconds * RATE)) / RATE
    tone = np.sin(2 * np.pi * (200 + 90 * seed + 300 * at) * at)
    return (0.3 * tone + 0.05 * random.standard_normal(len(at))).astype(np.float32)


def wav(seconds=0.5, seed=0) -> bytes:
    """`wave` as the bytes of a file."""
    out = io.BytesIO()
    soundfile.write(out, wave(seconds, seed), RATE, format="WAV")
    return out.getvalue()


def spec_of(checkpoint):
    return read_media(checkpoint.folder, checkpoint.facts).audio


def sound_of(spec, seconds, seed=0):
    """`wave` as inputs of a model."""
    made = wave(seconds, seed)
    return mel_inputs(made, spec) if isinstance(spec, MelSpec) else wave_inputs(made, spec)


def hf_features(reference: Reference, sounds):
    """Features [tokens, H] of each of ``sounds`` (`AudioInputs`)."""
    return audio_features(reference.model, sounds)


def program(checkpoint):
    """The audio encoder of ``checkpoint`` alone, traced and bound."""
    return encoder_of(checkpoint, "audio")


def runner(model):
    """A function from `AudioInputs` to features, which runs the graph ``model``."""
    session = session_of(model)
    return lambda sound: session.run(None, {"input_features": sound.input_features[sound.input_features_mask]})[0]
