"""Weights as codes: a matrix that a checkpoint stores in float, coded when a bundle is written.

A `CodedMatrix` makes all parts of some rows at once (codes, scales, zero points). A `CodedTensor` is one part of it, as
an initializer. The writer makes the parts of one matrix together. A part that is read alone (small graphs in tests)
makes itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from g4compile.graph.references import Reference, static_shape
from g4compile.weights.formats.blocks import Array, Codes
from g4compile.weights.references import CheckpointTensor


@dataclass(frozen=True, eq=False)
class CodedMatrix(ABC):
    """``weight`` [..., K] as codes and what they are multiplied by, made by rows."""

    weight: CheckpointTensor
    unit: ClassVar[int] = 1  # rows that are made together

    @property
    def leading(self) -> tuple[int, ...]:
        return static_shape(self.weight)[:-1]

    @property
    def columns(self) -> int:
        return static_shape(self.weight)[-1]

    @property
    def rows(self) -> int:
        return int(np.prod(self.leading))

    @abstractmethod
    def shape(self, part: str) -> tuple[int, ...]:
        """Sizes of ``part``."""

    @abstractmethod
    def quantize(self, start: int, stop: int) -> Codes:
        """Rows ``start`` to ``stop``, packed."""

    @abstractmethod
    def dequantized(self) -> Array:
        """What the codes stand for: float32 of the weight's shape."""

    def measure(self) -> None:  # noqa: B027 - most formats look at nothing but the rows they code
        """Find what must be known of the whole weight before its rows are coded. Called once, before any `quantize`."""

    def strips(self, part: str, made: Codes, start: int, stop: int) -> Iterator[tuple[int, Array]]:
        """What the rows ``made`` are in a part's bytes: pairs of offset and bytes.

        There is one pair where rows lie one behind the other.
        """
        array: Array = getattr(made, part)
        yield start * array.nbytes // (stop - start), array


class CodedTensor(Reference):
    """One ``part`` of ``matrix``: codes, scales or zero_points."""

    matrix: CodedMatrix
    part: str
