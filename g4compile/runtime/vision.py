"""Images as embeddings: the vision encoder of an ONNX bundle, and its features in the place of placeholders.

Source: transformers `Gemma4Model.forward`: placeholders are embedded as padding, and the features of all images, one
behind the other, take their places in `inputs_embeds`, not scaled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from g4compile.bundle.folder import Bundle
from g4compile.bundle.manifest import VISION
from g4compile.errors import InputError
from g4compile.runtime.failures import run_errors
from g4compile.runtime.graphs import open_graph
from g4compile.runtime.media.patches import in_token_order
from g4compile.runtime.media.records import Array, ImageInputs
from g4compile.runtime.prompt import media_of


@dataclass(frozen=True)
class Features:
    """``rows`` float32 [n, H], which stand at the positions ``places`` int64 [n], ascending, of one sequence."""

    places: Array
    rows: Array

    def put(self, embedded: Any, start: int) -> Any:
        """``embedded``, an OrtValue float32 [1, S, H] of the positions from ``start``, with the features among them."""
        first, last = np.searchsorted(self.places, [start, start + embedded.shape()[1]])
        if first == last:
            return embedded
        array = embedded.numpy().copy()
        array[0, self.places[first:last] - start] = self.rows[first:last]
        return ort.OrtValue.ortvalue_from_numpy(array)


class VisionEncoder:
    """The graph of a bundle that makes features of images. Raises what `open_graph` raises, and InputError when the
    bundle takes no images."""

    def __init__(self, bundle: Bundle, threads: int, cache: Path | None = None) -> None:
        spec = media_of(bundle)
        self._token, self._spec = spec.tokens.image, spec.image
        self._file = bundle.graph_path(bundle.manifest.graph(VISION))
        self._graph = open_graph(bundle, VISION, threads, cache)

    def features(self, input_ids: Array, images: Sequence[ImageInputs]) -> Features:
        """Of ``images``, for their placeholders in ``input_ids`` [1, S].

        Raises InputError when these are more or fewer than the tokens of the images; MachineError without the memory.
        """
        places, tokens = np.flatnonzero(input_ids[0] == self._token.id), sum(image.tokens for image in images)
        if len(places) != tokens:
            raise InputError(
                f"the prompt has {len(places):,} times {self._token.text}, and its images have {tokens:,} tokens",
                fix=f"write token {self._token.id} once for each token of an image: `Prompt.from_messages` does",
            )
        return Features(places, np.concatenate([self._one(image) for image in images]))

    def _one(self, image: ImageInputs) -> Array:
        assert self._spec is not None
        values, positions = in_token_order(image, self._spec)
        with run_errors(f"an image of {len(values):,} patches", self._file):
            (rows,) = self._graph.run(None, {"pixel_values": values, "pixel_position_ids": positions})
        found: Array = rows
        return found
