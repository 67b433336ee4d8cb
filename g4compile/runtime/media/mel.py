"""A wave as log-mel frames, for the audio tower of E2B and E4B.

Source: transformers `feature_extraction_gemma4.py` (Gemma4AudioFeatureExtractor) and `mel_filter_bank` of its
`audio_utils.py`. The order of the operations and their dtypes are those of the source.
"""

from __future__ import annotations

import functools

import numpy as np

from g4compile.bundle.media import FRAMES, MelSpec
from g4compile.errors import InputError
from g4compile.runtime.media.records import Array, AudioInputs
from g4compile.runtime.media.sounds import check_length, check_wave

_MULTIPLE = 128  # samples: the wave is filled up with zeros to a multiple (transformers' `pad_to_multiple_of`)


def mel_inputs(wave: Array, spec: MelSpec, notes: tuple[str, ...] = ()) -> AudioInputs:
    """``wave`` (float32 [samples] at `sampling_rate`) as log-mel frames: `input_features` float32 [frames,
    feature_size], ln(mel + mel_floor) of magnitudes.

    A frame is masked, and zero, when its last sample is not of the wave. Raises InputError for a wave that is too long,
    too short for one token, or not finite.
    """
    check_wave(wave)
    check_length(len(wave), spec.sampling_rate, spec.max_samples)
    before, length = spec.frame_length // 2, spec.frame_length + 1  # of each frame, transformers drops the last sample
    padded = np.zeros(before + -(-len(wave) // _MULTIPLE) * _MULTIPLE, np.float32)
    padded[before : before + len(wave)] = wave
    last = np.arange(length - 1, len(padded), spec.hop_length)  # sample of each frame
    mask = last < before + len(wave)
    tokens = int(mask[::FRAMES].sum())
    if not tokens:
        least = 1000 * (length - before) / spec.sampling_rate
        raise InputError(
            "the sound is too short",
            why=f"it has {len(wave):,} samples, {1000 * len(wave) / spec.sampling_rate:.1f} ms",
            fix=f"give at least {least:.1f} ms",
        )
    frames = np.lib.stride_tricks.sliding_window_view(padded, length)[:: spec.hop_length, :-1]
    spectrum = np.abs(np.fft.rfft(frames * _window(spec.frame_length), n=spec.fft_length))
    features = np.log(np.matmul(spectrum, _filters(spec)) + spec.mel_floor).astype(np.float32)
    return AudioInputs(features * mask[:, None], mask, tokens, notes)


@functools.cache
def _window(length: int) -> Array:
    """Hann's, periodic."""
    return np.hanning(length + 1)[:-1].astype(np.float32)


@functools.lru_cache(maxsize=8)
def _filters(spec: MelSpec) -> Array:
    """Triangles that are equally wide in mel (HTK's), float64 [fft_length / 2 + 1, feature_size], not normalised."""
    low, high = (2595.0 * np.log10(1.0 + hertz / 700.0) for hertz in (spec.min_frequency, spec.max_frequency))
    edges = 700.0 * (np.power(10, np.linspace(low, high, spec.feature_size + 2) / 2595.0) - 1.0)
    bins = np.linspace(0, spec.sampling_rate // 2, spec.fft_length // 2 + 1)
    slopes = edges[None] - bins[:, None]
    widths = np.diff(edges)
    triangles: Array = np.maximum(0.0, np.minimum(-slopes[:, :-2] / widths[:-1], slopes[:, 2:] / widths[1:]))
    return triangles
