"""Timing the encoders of an ONNX bundle: one image, and one sound, from what an encoder is given to features."""

from __future__ import annotations

import math
import statistics
import time
from typing import Any

import msgspec
import numpy as np

from g4compile.bundle.folder import Bundle
from g4compile.bundle.media import MelSpec, PatchSpec, WaveSpec
from g4compile.runtime.audio import AudioEncoder
from g4compile.runtime.encoder import Encoder
from g4compile.runtime.media.records import AudioInputs, ImageInputs
from g4compile.runtime.media.waves import wave_inputs
from g4compile.runtime.vision import VisionEncoder

_SECONDS = 10  # of a sound


class EncoderTiming(msgspec.Struct, frozen=True):
    """Median ``seconds`` for one image, or one sound, of ``tokens``."""

    tokens: int
    seconds: float


def measure_encoders(bundle: Bundle, threads: int, repeats: int, seed: int) -> dict[str, EncoderTiming]:
    """By modality: a square image of the default budget, and ten seconds of sound, of random numbers."""
    media, random, found = bundle.manifest.media, np.random.default_rng(seed), dict[str, EncoderTiming]()
    if media is None or bundle.manifest.engine is not None:
        return found
    if media.image is not None:
        side = math.isqrt(media.image.max_soft_tokens)
        found["image"] = _timed(VisionEncoder(bundle, threads), square_image(media.image, side, random), repeats)
    if media.audio is not None:
        found["audio"] = _timed(AudioEncoder(bundle, threads), _sound(media.audio, random), repeats)
    return found


def _timed(encoder: Encoder[Any], item: Any, repeats: int) -> EncoderTiming:
    times = []
    for _ in range(repeats + 1):  # one to warm up
        start = time.perf_counter()
        encoder.rows(item)
        times.append(time.perf_counter() - start)
    return EncoderTiming(item.tokens, statistics.median(times[1:]))


def square_image(spec: PatchSpec, side: int, random: np.random.Generator) -> ImageInputs:
    """Random pixels of ``side`` tokens a side, or as many as the model has positions for."""
    pool = spec.pooling_kernel_size
    side = min(side, spec.positions // pool)
    rows, columns = np.divmod(np.arange((side * pool) ** 2), side * pool)
    values = random.random((len(rows), 3 * spec.patch_size**2), np.float32)
    return ImageInputs(values, np.stack([columns, rows], 1), side**2)


def _sound(spec: MelSpec | WaveSpec, random: np.random.Generator) -> AudioInputs:
    samples = min(_SECONDS * spec.sampling_rate, spec.max_samples)
    if isinstance(spec, WaveSpec):
        return wave_inputs((0.1 * random.standard_normal(samples)).astype(np.float32), spec)
    frames = samples // spec.hop_length - 1
    features = random.standard_normal((frames, spec.feature_size)).astype(np.float32)
    return AudioInputs(features, np.ones(frames, bool), -(-frames // 4))
