"""Media in a prompt for an ONNX bundle: features of images, videos and sounds, by its encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from g4compile.bundle.folder import Bundle
from g4compile.runtime.audio import AudioEncoder
from g4compile.runtime.encoder import Encoder
from g4compile.runtime.media.placeholders import Media
from g4compile.runtime.media.records import Array
from g4compile.runtime.onnx_runtime import ort
from g4compile.runtime.placed import Features, placed
from g4compile.runtime.prompt import media_of
from g4compile.runtime.vision import VisionEncoder


def put(features: Features, embedded: Any, start: int) -> Any:
    """``embedded``, an OrtValue float32 [1, S, H] of the positions from ``start``, with the ``features`` among them."""
    here = features.among(start, embedded.shape()[1])
    if here.start == here.stop:
        return embedded
    return ort.OrtValue.ortvalue_from_numpy(features.put(embedded.numpy(), start))


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
        tokens = media_of(self._bundle).tokens
        return placed(
            input_ids,
            media,
            tokens,
            lambda image: self._rows(VisionEncoder, image),
            lambda sound: self._rows(AudioEncoder, sound),
        )

    def _rows(self, kind: type[Encoder[Any]], item: Any) -> Array:
        if kind not in self._opened:
            self._opened[kind] = kind(self._bundle, *self._how)
        return self._opened[kind].rows(item)
