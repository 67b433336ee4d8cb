"""A graph of an ONNX bundle that makes features of one kind of media: what the encoders of images and sounds share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from g4compile.bundle.folder import Bundle
from g4compile.errors import InputError
from g4compile.runtime.failures import run_errors
from g4compile.runtime.graphs import open_graph
from g4compile.runtime.media.records import Array

Item = TypeVar("Item")


class Encoder(ABC, Generic[Item]):
    """The graph of ``part``, opened for ``bundle``. Raises what `open_graph` raises."""

    part: ClassVar[str]

    def __init__(self, bundle: Bundle, threads: int, cache: Path | None = None) -> None:
        self.spec = bundle.manifest.media
        self._file = bundle.graph_path(bundle.manifest.graph(self.part))
        self._graph = open_graph(bundle, self.part, threads, cache)

    @abstractmethod
    def feeds(self, item: Item) -> dict[str, Array]:
        """What the graph reads of ``item``, by input."""

    @abstractmethod
    def size(self, item: Item) -> str:
        """What it is and how large, in words."""

    def check_width(self, name: str, values: Array, width: int) -> None:
        """Raise InputError for ``values`` whose rows are not of ``width`` numbers: made for another model."""
        if values.shape[-1] != width:
            raise InputError(
                f"{name} of this prompt was made for another bundle",
                why=f"its rows have {values.shape[-1]:,} numbers, and this bundle reads {width:,}",
                fix="make the prompt with this bundle",
            )

    def rows(self, item: Item) -> Array:
        """The features of ``item``, float32 [tokens, H]. Raises MachineError without the memory, and BundleError."""
        fed = self.feeds(item)
        with run_errors(self.size(item), self._file):
            (found,) = self._graph.run(None, fed)
        rows: Array = found
        return rows
