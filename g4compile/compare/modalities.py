"""Prompts with media for `verify`: for each modality one of random ids with an image, or a sound, among them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from g4compile.bundle.manifest import Manifest
from g4compile.bundle.media import MediaSpec, MelSpec
from g4compile.model.contents import PARTS, part_of_module
from g4compile.model.keys import module_of_key
from g4compile.runtime.measure_encoders import square_image
from g4compile.runtime.media.mel import mel_inputs
from g4compile.runtime.media.records import Array, AudioInputs, ImageInputs
from g4compile.runtime.media.waves import wave_inputs
from g4compile.runtime.prompt import Prompt
from g4compile.weights.stored import STORED

_WORDS = 6  # ids in front of media, and behind
_SIDE, _SECONDS = 8, 1.7  # tokens along a side of an image
_FRAMES = 43.5  # of a sound without a tower: the last one is not whole


class FeatureLimits(msgspec.Struct, frozen=True):
    """The most that features may be apart: root mean square over that of the judge's, and the largest difference."""

    relative_difference: float
    max_abs_difference: float | None


# The worst that the tiny variants show, over four seeds: 1e-6 relative and 6e-6; where products round what they read to
# 8 bits, 0.02; of a checkpoint's own codes, whose fixed steps make a whole step of any noise of such products, 0.10. A
# sign changed in the scales of one product shows 0.59 and more.
_EXACT, _ROUNDED, _STEPS = FeatureLimits(1e-4, 5e-4), FeatureLimits(0.03, None), FeatureLimits(0.25, None)


class FeatureParity(msgspec.Struct, frozen=True):
    """Differences of the features of one image or sound: as in `FeatureLimits`."""

    tokens: int
    max_abs_difference: float
    relative_difference: float

    def broken(self, limits: FeatureLimits) -> list[str]:
        """Which of ``limits`` this is over, in words. A value that is not finite is over every limit."""
        if not math.isfinite(self.max_abs_difference):
            return ["some features are not finite numbers"]
        over = []
        if limits.max_abs_difference is not None and self.max_abs_difference > limits.max_abs_difference:
            over.append(f"features: max difference {self.max_abs_difference:.3g} > {limits.max_abs_difference:.3g}")
        most = limits.relative_difference
        if not self.relative_difference <= most:
            over.append(f"features: relative difference {self.relative_difference:.3g} > {most:.3g}")
        return over


def feature_limits(manifest: Manifest, modality: str) -> FeatureLimits:
    """How far the features of a bundle may be from the judge's: it depends on whether its encoder's products round what
    they read, which codes of that encoder say."""
    part = PARTS[modality]
    if manifest.activations != "int8" or all(part_of_module(module_of_key(key)) != part for key in manifest.quantized):
        return _EXACT
    return _STEPS if manifest.weights == STORED else _ROUNDED


def compare_features(want: Array, found: Array) -> FeatureParity:
    """Of float [tokens, H], which must have one shape."""
    if want.shape != found.shape:
        return FeatureParity(len(want), math.inf, math.inf)
    difference = found - want
    relative = float(np.sqrt(np.mean(difference**2) / np.mean(want**2)))
    return FeatureParity(len(want), float(np.abs(difference).max()), relative)


def media_prompts(manifest: Manifest, seed: int) -> dict[str, Prompt]:
    """A prompt for each modality that an ONNX bundle takes beside text, and has room for, by its name."""
    media = manifest.media
    if media is None or manifest.engine is not None:
        return {}
    random = np.random.default_rng(seed)
    made = {one: _prompt(one, manifest, media, random) for one in manifest.modalities if one in PARTS}
    return {one: prompt for one, prompt in made.items() if len(prompt.input_ids) <= manifest.context}


def _prompt(modality: str, manifest: Manifest, media: MediaSpec, random: np.random.Generator) -> Prompt:
    special = {media.tokens.image.id, media.tokens.video.id, media.tokens.audio.id}
    ordinary = [one for one in range(min(manifest.vocab_size, 4096)) if one not in special]
    before, behind = random.choice(ordinary, (2, _WORDS)).tolist()
    item = _image(media, random) if modality == "image" else _sound(media, random)
    token: Any = getattr(media.tokens, modality)
    ids = np.array([*before, *[token.id] * item.tokens, *behind])
    return Prompt(ids, images=(item,)) if isinstance(item, ImageInputs) else Prompt(ids, audios=(item,))


def _image(media: MediaSpec, random: np.random.Generator) -> ImageInputs:
    assert media.image is not None
    return square_image(media.image, _SIDE, random)


def _sound(media: MediaSpec, random: np.random.Generator) -> AudioInputs:
    spec = media.audio
    assert spec is not None
    of_frames = None if isinstance(spec, MelSpec) else _FRAMES * spec.audio_samples_per_token
    wave = (0.1 * random.standard_normal(round(of_frames or _SECONDS * spec.sampling_rate))).astype(np.float32)
    return mel_inputs(wave, spec) if isinstance(spec, MelSpec) else wave_inputs(wave, spec)


def broken_features(found: Mapping[str, FeatureParity], manifest: Manifest) -> tuple[str, ...]:
    """What is over the limits, by modality."""
    return tuple(
        f"{name}: {text}" for name, one in found.items() for text in one.broken(feature_limits(manifest, name))
    )
