"""Placeholders of a prompt: written out as many tokens as encoders give, and found again among the ids.

Source: transformers `processing_gemma4.py` (`replace_image_token`, `replace_video_token`, `replace_audio_token`) and
`ProcessorMixin.get_text_with_replacements` and `create_mm_token_type_ids` of `processing_utils.py`. The text is written
out before it becomes ids, since the times of a video's frames are text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from g4compile.bundle.media import MediaTokens, TokenSpec
from g4compile.errors import BundleError, InputError
from g4compile.runtime.media.records import Array, AudioInputs, ImageInputs, VideoInputs

TEXT, IMAGE, VIDEO, AUDIO = 0, 1, 2, 3  # the values of mm_token_type_ids
_NAMES = {IMAGE: "image", VIDEO: "video", AUDIO: "sound"}


@dataclass(frozen=True)
class Media:
    """What stands in a prompt, each kind in the order of its placeholders."""

    images: Sequence[ImageInputs] = ()
    videos: Sequence[VideoInputs] = ()
    audios: Sequence[AudioInputs] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.images or self.videos or self.audios)

    def runs(self, kind: int) -> list[int]:
        """Tokens of each run of placeholders of a ``kind``: of an image, a frame of a video, a sound."""
        if kind == VIDEO:
            return [video.tokens for video in self.videos for _ in video.seconds]
        return [one.tokens for one in (self.images if kind == IMAGE else self.audios)]


class Span(NamedTuple):
    """Positions ``start`` to ``stop`` (exclusive) of the prompt, which take the ``number``th output of an encoder: of
    the images, of the frames of all videos, or of the sounds."""

    kind: int
    number: int
    start: int
    stop: int


@dataclass(frozen=True)
class PlacedPrompt:
    """``input_ids`` and ``mm_token_type_ids``, int64 [tokens]; ``spans`` in the order of the prompt."""

    input_ids: Array
    mm_token_type_ids: Array
    spans: tuple[Span, ...]


def write_out(text: str, media: Media, tokens: MediaTokens) -> str:
    """``text`` with each placeholder written out for its image, video or sound.

    Raises InputError when there are more placeholders of a kind than media, or fewer, and says which.
    """
    written = {
        tokens.image.text: [_framed(tokens.image, tokens.boi, tokens.eoi, one.tokens) for one in media.images],
        tokens.video.text: [_video(one, tokens) for one in media.videos],
        tokens.audio.text: [_framed(tokens.audio, tokens.boa, tokens.eoa, one.tokens) for one in media.audios],
    }
    for kind, (placeholder, found) in zip((IMAGE, VIDEO, AUDIO), written.items(), strict=True):
        _check_counts(_NAMES[kind], placeholder, text.count(placeholder), len(found))
    left = {placeholder: iter(found) for placeholder, found in written.items()}
    return re.sub("|".join(map(re.escape, left)), lambda match: next(left[match[0]]), text)


def place(input_ids: Sequence[int] | Array, media: Media, tokens: MediaTokens) -> PlacedPrompt:
    """The ids of a text that `write_out` made, with the places of what encoders give.

    Raises BundleError when the tokenizer made other tokens of it than the model has for its placeholders.
    """
    ids = np.asarray(input_ids, np.int64)
    kinds = np.zeros_like(ids)
    spans: list[Span] = []
    for kind, token in ((IMAGE, tokens.image), (VIDEO, tokens.video), (AUDIO, tokens.audio)):
        places = np.flatnonzero(ids == token.id)
        kinds[places] = kind
        found = [run for run in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1) if len(run)]
        lengths, wanted = [len(run) for run in found], media.runs(kind)
        if lengths != wanted:
            has, had = (f"{sum(runs):,} times in {len(runs)} runs" for runs in (lengths, wanted))
            raise BundleError(
                f"the ids of the prompt do not hold {token.text} as it was written out",
                why=f"token {token.id} stands there {has}, and was written {had}",
                fix="take tokenizer and config of one checkpoint",
            )
        spans += [Span(kind, number, int(run[0]), int(run[-1]) + 1) for number, run in enumerate(found)]
    return PlacedPrompt(ids, kinds, tuple(sorted(spans, key=lambda span: span.start)))


def _framed(token: TokenSpec, begin: str, end: str, count: int) -> str:
    return f"{begin}{token.text * count}{end}"


def _video(video: VideoInputs, tokens: MediaTokens) -> str:
    """Each frame behind its minute and second."""
    frame = _framed(tokens.video, tokens.boi, tokens.eoi, video.tokens)
    return " ".join(f"{int(at // 60):02d}:{int(at % 60):02d} {frame}" for at in video.seconds)


def _check_counts(name: str, placeholder: str, places: int, given: int) -> None:
    if places == given:
        return
    first, last = min(places, given) + 1, max(places, given)
    which = f"{first}" if first == last else f"{first} to {last}"
    lacks = f"{name} {which} of {given} has no place" if given > places else f"place {which} of {places} has no {name}"
    raise InputError(
        f"{placeholder} stands {places} times in the prompt, and the number of {name}s is {given}",
        why=lacks,
        fix=f"write {placeholder} where each {name} belongs",
    )
