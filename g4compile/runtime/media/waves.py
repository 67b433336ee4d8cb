"""A wave as frames of raw samples, for 12B, which has no audio tower: each frame is a token.

Source: transformers `feature_extraction_gemma4_unified.py` (Gemma4UnifiedAudioFeatureExtractor).
"""

from __future__ import annotations

import numpy as np

from g4compile.bundle.media import WaveSpec
from g4compile.runtime.media.records import Array, AudioInputs
from g4compile.runtime.media.sounds import check_length, check_wave


def wave_inputs(wave: Array, spec: WaveSpec, notes: tuple[str, ...] = ()) -> AudioInputs:
    """``wave`` (float32 [samples] at `sampling_rate`) as `input_features` float32 [frames, audio_samples_per_token],
    the last one filled up with zeros; no frame is masked.

    Raises InputError for a wave that is too long, empty, or not finite.
    """
    check_wave(wave)
    check_length(len(wave), spec.sampling_rate, spec.max_samples)
    size = spec.audio_samples_per_token
    frames = -(-len(wave) // size)
    padded = np.zeros(frames * size, np.float32)
    padded[: len(wave)] = wave
    return AudioInputs(padded.reshape(frames, size), np.ones(frames, bool), frames, notes)
