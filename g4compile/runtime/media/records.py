"""What encoders are given, and how many tokens of the prompt it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ImageInputs:
    """An image. ``pixel_values`` float32 [patches, pixels of a patch * 3] in 0..1; ``pixel_position_ids`` int64
    [patches, 2], column and row of each patch. Behind the patches of the image stand zeros, at position -1, -1.
    ``tokens``: how many the encoder makes of it. ``notes``: what was done to the file that its owner may not expect."""

    pixel_values: Array
    pixel_position_ids: Array
    tokens: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class VideoInputs:
    """Frames of a video, one behind the other. ``pixel_values`` float32 [frames, patches, pixels of a patch * 3];
    ``pixel_position_ids`` int64 [frames, patches, 2]. ``tokens``: of each frame. ``seconds``: when each is shown."""

    pixel_values: Array
    pixel_position_ids: Array
    tokens: int
    seconds: tuple[float, ...]
    notes: tuple[str, ...] = ()

    @property
    def frames(self) -> tuple[ImageInputs, ...]:
        """Each frame as an image."""
        pairs = zip(self.pixel_values, self.pixel_position_ids, strict=True)
        return tuple(ImageInputs(values, positions, self.tokens) for values, positions in pairs)


@dataclass(frozen=True)
class AudioInputs:
    """A sound. ``input_features`` float32 [frames, features]; ``input_features_mask`` bool [frames], false where a
    frame is not wholly of the sound. ``tokens``: how many the encoder makes of it."""

    input_features: Array
    input_features_mask: Array
    tokens: int
    notes: tuple[str, ...] = ()
