"""Prompts with images and sounds for Python's runtime, as libg4rt makes them of the same pixels and samples."""

from __future__ import annotations

from g4compile.bundle.media import MelSpec
from g4compile.runtime.media.mel import mel_inputs
from g4compile.runtime.media.patches import image_inputs
from g4compile.runtime.media.placeholders import Media
from g4compile.runtime.media.waves import wave_inputs
from g4compile.runtime.prompt import Prompt

BUDGET = 70  # tokens of an image: all fit the context


def prompt_of(bundle, codec, text, pictures, waves):
    spec = bundle.manifest.media
    sound = mel_inputs if isinstance(spec.audio, MelSpec) else wave_inputs
    media = Media(
        tuple(image_inputs(picture, spec.image, BUDGET) for picture in pictures),
        (),
        tuple(sound(wave, spec.audio) for wave in waves),
    )
    return Prompt.from_text(text, media, bundle, codec)
