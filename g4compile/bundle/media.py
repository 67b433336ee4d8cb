"""What a runtime must know to turn images, audio and videos into inputs of a model: plain records, for a manifest.

Fields have the names of transformers' processors (`processor_config.json`). `weights/processors.py` makes the records
of a checkpoint; `runtime/media` alone works with them.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

BUDGETS = (70, 140, 280, 560, 1120)  # tokens that an image may take at most; transformers takes no others

FRAMES = 4  # of a token: the two convolutions of the tower that reads log-mel frames halve time

Pixels = Annotated[int, Meta(ge=1, le=1024)]
Samples = Annotated[int, Meta(ge=1, le=1 << 24)]
Rate = Annotated[int, Meta(ge=1000, le=384_000)]
Hertz = Annotated[float, Meta(ge=0, le=192_000)]
Word = Annotated[str, Meta(min_length=1, max_length=64)]
TokenId = Annotated[int, Meta(ge=0, le=1 << 31)]


class PatchSpec(msgspec.Struct, frozen=True):
    """How pixels become patches. ``patch_size``: pixels of a side of the patches that the model is given.
    ``pooling_kernel_size``: patches of a side of what becomes one token. ``max_soft_tokens``: one of `BUDGETS`.
    ``positions``: patches along a side of an image that the model has positions for."""

    patch_size: Pixels
    pooling_kernel_size: Annotated[int, Meta(ge=1, le=64)]
    max_soft_tokens: Annotated[int, Meta(ge=1, le=1120)]
    positions: Annotated[int, Meta(ge=1, le=1 << 20)]


class VideoSpec(msgspec.Struct, frozen=True):
    """Frames that are taken from a video, and how each becomes patches."""

    num_frames: Annotated[int, Meta(ge=1, le=256)]
    patches: PatchSpec


class MelSpec(msgspec.Struct, frozen=True, tag="mel"):
    """The log-mel front end. ``frame_length``, ``hop_length``, ``fft_length`` and ``max_samples`` count samples;
    ``feature_size`` counts mel bins. Frequencies are in hertz."""

    sampling_rate: Rate
    frame_length: Samples
    hop_length: Samples
    fft_length: Samples
    feature_size: Annotated[int, Meta(ge=1, le=4096)]
    min_frequency: Hertz
    max_frequency: Hertz
    mel_floor: Annotated[float, Meta(gt=0, le=1)]
    max_samples: Samples


class WaveSpec(msgspec.Struct, frozen=True, tag="wave"):
    """12B's audio: frames of the wave, ``audio_samples_per_token`` each."""

    sampling_rate: Rate
    audio_samples_per_token: Samples
    max_samples: Samples


def sound_tokens(spec: MelSpec | WaveSpec, samples: int) -> int:
    """How many tokens a sound of ``samples`` has; log-mel frames that reach beyond it do not count."""
    if isinstance(spec, WaveSpec):
        return -(-samples // spec.audio_samples_per_token)
    frames = -(-(samples - spec.frame_length + spec.frame_length // 2) // spec.hop_length)
    return -(-frames // FRAMES)


class TokenSpec(msgspec.Struct, frozen=True):
    """A token that stands for outputs of an encoder: as it is written in a prompt, and its id."""

    text: Word
    id: TokenId


class MediaTokens(msgspec.Struct, frozen=True):
    """Tokens of prompts with media. ``boi`` and ``eoi`` stand around each image and each frame of a video, ``boa`` and
    ``eoa`` around each sound."""

    image: TokenSpec
    video: TokenSpec
    audio: TokenSpec
    boi: Word
    eoi: Word
    boa: Word
    eoa: Word


class MediaSpec(msgspec.Struct, frozen=True):
    """What a model takes beside text; None for what it does not take."""

    tokens: MediaTokens
    image: PatchSpec | None
    video: VideoSpec | None
    audio: MelSpec | WaveSpec | None
