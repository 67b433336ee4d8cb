"""Files as inputs of one model: what it takes, and how, is what its bundle says."""

from __future__ import annotations

import numpy as np

from g4compile.bundle.media import MediaSpec, MelSpec, WaveSpec
from g4compile.errors import InputError
from g4compile.runtime.media.images import decode_image
from g4compile.runtime.media.mel import mel_inputs
from g4compile.runtime.media.patches import image_inputs
from g4compile.runtime.media.records import Array, AudioInputs, ImageInputs, VideoInputs
from g4compile.runtime.media.sounds import DecodedSound, decode_sound, sound_of
from g4compile.runtime.media.sources import Source
from g4compile.runtime.media.videos import frame_inputs, video_inputs
from g4compile.runtime.media.waves import wave_inputs


class Preprocessor:
    """Reads images, sounds and videos for the model of ``spec``.

    Methods raise InputError for files that cannot be used, and for what the model does not take; MachineError when a
    library of the extra `media`, or memory, is missing.
    """

    def __init__(self, spec: MediaSpec) -> None:
        self.spec = spec

    def image(self, source: Source, budget: int | None = None) -> ImageInputs:
        """``budget``: most tokens of the image, 70, 140, 280, 560 or 1120; None: what the checkpoint says."""
        if self.spec.image is None:
            raise _not_taken("images")
        decoded = decode_image(source)
        return image_inputs(decoded.pixels, self.spec.image, budget, decoded.notes)

    def video(
        self,
        source: Source | list[Array] | tuple[Array, ...] | Array,
        frames: int | None = None,
        budget: int | None = None,
        rate: float | None = None,
    ) -> VideoInputs:
        """``source``: a file, or frames, uint8 [height, width, 3] each, of which ``rate`` are shown in a second (None:
        24, as transformers has it). ``frames``: how many are taken, 1 to 256, each of at most ``budget`` tokens. None:
        as the checkpoint says."""
        if self.spec.video is None:
            raise _not_taken("videos")
        if isinstance(source, list | tuple | np.ndarray):
            return frame_inputs(source, self.spec.video, frames, budget, rate)
        if rate is not None:
            raise InputError("a video file states its own rate", fix="give the rate with a list of frames alone")
        return video_inputs(source, self.spec.video, frames, budget)

    def audio(self, source: Source | Array, sampling_rate: int | None = None) -> AudioInputs:
        """``source``: a file, or a wave, floats [samples] at ``sampling_rate`` hertz."""
        spec = self.spec.audio
        if spec is None:
            raise _not_taken("sounds")
        decoded = _sound(source, sampling_rate, spec)
        if isinstance(spec, MelSpec):
            return mel_inputs(decoded.wave, spec, decoded.notes)
        return wave_inputs(decoded.wave, spec, decoded.notes)


def _sound(source: Source | Array, rate: int | None, spec: MelSpec | WaveSpec) -> DecodedSound:
    if not isinstance(source, np.ndarray):
        if rate is not None:
            raise InputError("a sound file states its own rate", fix="give sampling_rate with an array alone")
        return decode_sound(source, spec.sampling_rate, spec.max_samples)
    if rate is None:
        raise InputError("an array of samples does not say its rate", fix="give its sampling_rate, in hertz")
    return sound_of(source, rate, spec.sampling_rate, spec.max_samples)


def _not_taken(name: str) -> InputError:
    return InputError(f"this model takes no {name}", fix="take a model that does, or leave them out")
