"""Media in a prompt: features of images, videos and sounds in the place of placeholders.

Source: transformers `Gemma4Model.forward`: placeholders are embedded as padding, and the features of all images, one
behind the other, take the places of theirs in `inputs_embeds`, not scaled; then those of videos, and of sounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from g4compile.bundle.folder import Bundle
from g4compile.bundle.media import TokenSpec
from g4compile.errors import InputError
from g4compile.runtime.audio import AudioEncoder
from g4compile.runtime.encoder import Encoder
from g4compile.runtime.media.placeholders import Media
from g4compile.runtime.media.records import Array
from g4compile.runtime.prompt import media_of
from g4compile.runtime.vision import VisionEncoder


@dataclass(frozen=True)
class Features:
    """``rows`` float32 [n, H], which stand at the positions ``places`` int64 [n], ascending, of one sequence.
    ``seen``: those of images and videos."""

    places: Array
    rows: Array
    seen: Array

    def put(self, embedded: Any, start: int) -> Any:
        """``embedded``, an OrtValue float32 [1, S, H] of the positions from ``start``, with the features among them."""
        first, last = np.searchsorted(self.places, [start, start + embedded.shape()[1]])
        if first == last:
            return embedded
        array = embedded.numpy().copy()
        array[0, self.places[first:last] - start] = self.rows[first:last]
        return ort.OrtValue.ortvalue_from_numpy(array)


class Encoders:
    """The encoders of a bundle, each opened for the first of its kind of media. ``threads``, ``cache``: as those of
    `open_graph`."""

    def __init__(self, bundle: Bundle, threads: int, cache: Path | None = None) -> None:
        self._bundle, self._how = bundle, (threads, cache)
        self._opened: dict[type[Encoder[Any]], Encoder[Any]] = {}

    def features(self, input_ids: Array, media: Media) -> Features | None:
        """Of ``media``, for their placeholders in ``input_ids`` [1, S]; None without any.

        Raises InputError when placeholders of a kind are more or fewer than the tokens of its media, or when the bundle
        does not take that kind; MachineError without the memory.
        """
        if media.is_empty:
            return None
        tokens, frames = media_of(self._bundle).tokens, [frame for video in media.videos for frame in video.frames]
        images = _places(input_ids[0], tokens.image, "images", media.images)
        videos = _places(input_ids[0], tokens.video, "videos", frames)
        sounds = _places(input_ids[0], tokens.audio, "sounds", media.audios)
        rows = [*self._rows(VisionEncoder, [*media.images, *frames]), *self._rows(AudioEncoder, media.audios)]
        places = np.concatenate([images, videos, sounds])
        order = np.argsort(places)
        return Features(places[order], np.concatenate(rows)[order], np.sort(np.concatenate([images, videos])))

    def _rows(self, kind: type[Encoder[Any]], items: Sequence[Any]) -> list[Array]:
        if items and kind not in self._opened:
            self._opened[kind] = kind(self._bundle, *self._how)
        return [self._opened[kind].rows(item) for item in items]


def _places(ids: Array, token: TokenSpec, name: str, items: Sequence[Any]) -> Array:
    """Where ``token`` stands for the ``items``."""
    places, tokens = np.flatnonzero(ids == token.id), sum(item.tokens for item in items)
    if len(places) != tokens:
        raise InputError(
            f"the prompt has {len(places):,} times {token.text}, and its {name} have {tokens:,} tokens",
            fix=f"write token {token.id} once for each token: `Prompt.from_messages` does",
        )
    return places
