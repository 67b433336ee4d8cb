"""Features of media in the place of placeholders, whatever makes them.

Source: transformers `Gemma4Model.forward`: placeholders are embedded as padding, and the features of all images, one
behind the other, take the places of theirs in `inputs_embeds`, not scaled; then those of videos, and of sounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from g4compile.bundle.media import MediaTokens, TokenSpec
from g4compile.errors import InputError
from g4compile.runtime.media.placeholders import Media
from g4compile.runtime.media.records import Array, AudioInputs, ImageInputs


@dataclass(frozen=True)
class Features:
    """``rows`` float32 [n, H], which stand at the positions ``places`` int64 [n], ascending, of one sequence.
    ``seen``: those of images and videos."""

    places: Array
    rows: Array
    seen: Array

    def among(self, start: int, count: int) -> slice:
        """Those that stand at ``count`` positions from ``start``."""
        return slice(*np.searchsorted(self.places, [start, start + count]))

    def put(self, embedded: Array, start: int) -> Array:
        """``embedded`` float32 [1, S, H] of the positions from ``start``, as a copy with the features among them."""
        here, found = self.among(start, embedded.shape[1]), embedded.copy()
        found[0, self.places[here] - start] = self.rows[here]
        return found


def placed(
    input_ids: Array,
    media: Media,
    tokens: MediaTokens,
    see: Callable[[ImageInputs], Array],
    hear: Callable[[AudioInputs], Array],
) -> Features:
    """The features of ``media`` at their placeholders in ``input_ids`` [1, S]. ``see`` and ``hear`` make those of an
    image (or a frame) and of a sound, float32 [its tokens, H].

    Raises InputError when placeholders of a kind are more or fewer than the tokens of its media, and what these raise.
    """
    frames = [frame for video in media.videos for frame in video.frames]
    images = _places(input_ids[0], tokens.image, "images", media.images)
    videos = _places(input_ids[0], tokens.video, "videos", frames)
    sounds = _places(input_ids[0], tokens.audio, "sounds", media.audios)
    rows = [*map(see, (*media.images, *frames)), *map(hear, media.audios)]
    places = np.concatenate([images, videos, sounds])
    order = np.argsort(places)
    return Features(places[order], np.concatenate(rows)[order], np.sort(np.concatenate([images, videos])))


def _places(ids: Array, token: TokenSpec, name: str, items: Sequence[Any]) -> Array:
    """Where ``token`` stands for the ``items``."""
    places, tokens = np.flatnonzero(ids == token.id), sum(item.tokens for item in items)
    if len(places) != tokens:
        raise InputError(
            f"the prompt has {len(places):,} times {token.text}, and its {name} have {tokens:,} tokens",
            fix=f"write token {token.id} once for each token: `Prompt.from_messages` does",
        )
    return places
