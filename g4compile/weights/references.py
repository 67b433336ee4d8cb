"""Weights as references: an initializer names a checkpoint key and is read when a bundle is written.

The graph is traced without data. A `CheckpointTensor` carries the key, the dtype and shape that the graph wants, and
the steps between the stored tensor and the wanted one (a transpose, a scale). `program.bind` attaches the checkpoint.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir

from g4compile.bundle.weight_steps import (
    COLUMNS,
    MOVES,
    ROWS,
    Cast,
    Reorder,
    Scale,
    Shard,
    Transpose,
    WeightStep,
    prepare,
)
from g4compile.errors import Defect, InputError
from g4compile.graph.references import Reference, static_shape
from g4compile.weights.checkpoint import Checkpoint
from g4compile.weights.finite import check_finite


class CheckpointTensor(Reference):
    """One stored tensor as the graph wants it: of ``dtype`` and ``shape``, after ``steps``.

    Its values are those of `weight_steps.prepare`, which a runtime calls too.
    """

    def __init__(
        self,
        key: str,
        dtype: ir.DataType,
        shape: tuple[int, ...],
        steps: tuple[WeightStep, ...] = (),
        source: Checkpoint | None = None,
    ) -> None:
        super().__init__(self._load, dtype=dtype, shape=ir.Shape(shape), name=key)
        self.key, self.steps, self.source = key, steps, source

    @property
    def words(self) -> tuple[WeightStep, ...]:
        return self.steps

    def __repr__(self) -> str:
        return f"CheckpointTensor({self.key!r}, {self.dtype}, {self.shape}, steps={self.steps})"

    def transposed(self) -> CheckpointTensor:
        """The same weights, last two axes swapped."""
        *batch, rows, columns = static_shape(self)
        twice = self.steps[-1:] == (Transpose(),)
        steps = self.steps[:-1] if twice else (*self.steps, Transpose())
        return self._with(steps, shape=(*batch, columns, rows))

    @property
    def scale(self) -> float:
        """The product of the scales among the steps."""
        return math.prod(step.factor for step in self.steps if isinstance(step, Scale))

    def scaled(self, factor: float) -> CheckpointTensor:
        """The same weights times ``factor``, rounded once in ``dtype``."""
        return self._with((*self.steps, Scale(factor)))

    def in_dtype(self, dtype: ir.DataType) -> CheckpointTensor:
        """The same weights, rounded to ``dtype`` or widened, here in the order: steps so far compute as they did.

        Steps that only move numbers around let the cast of the stored tensor give ``dtype`` at once.
        """
        if dtype == self.dtype:
            return self
        if self.dtype == ir.DataType.FLOAT and all(isinstance(step, MOVES) for step in self.steps):
            return self._with(self.steps, dtype=dtype)
        return self._with((*self.steps, Cast(_word(self.dtype), _word(dtype))), dtype=dtype)

    def unrounded(self) -> CheckpointTensor:
        """In float32 throughout: the same steps, and no cast that rounds."""
        steps = tuple(step for step in self.steps if not isinstance(step, Cast))
        return self._with(steps, dtype=ir.DataType.FLOAT)

    def reordered(self, axis: str, width: int, rotary: int) -> CheckpointTensor:
        """The same weights, ``axis`` (rows or columns) reordered head by head: rotated dimensions first (`Reorder`)."""
        return self._with((*self.steps, Reorder(axis, width, rotary)))

    def sharded(self, axis: str, parts: int, rank: int, of: int) -> CheckpointTensor:
        """The share ``rank`` of ``of`` of each of ``parts`` equal parts of ``axis`` (rows or columns)."""
        shape = list(static_shape(self))
        shape[-1 if axis == COLUMNS else -2] //= of
        return self._with((*self.steps, Shard(axis, parts, rank, of)), shape=tuple(shape))

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape the checkpoint must store."""
        shape = static_shape(self)
        transposed = sum(isinstance(step, Transpose) for step in self.steps) % 2
        return (*shape[:-2], shape[-1], shape[-2]) if transposed else shape

    @property
    def by_rows(self) -> bool:
        """Whether some rows of it can be made without the others."""
        whole = (step for step in self.steps if isinstance(step, Transpose) or _takes_rows(step))
        return len(self.shape) > 1 and next(whole, None) is None

    def read_rows(self, start: int, stop: int) -> np.ndarray[Any, Any]:
        """Rows ``start`` to ``stop`` (all axes but the last counted as one), without reading the others."""
        if not self.by_rows:
            raise Defect(f"the weight {self.key} was asked for by rows, which its steps do not allow: {self.steps}")
        head = max([1, *(step.width for step in self.steps if isinstance(step, Reorder) and step.axis == ROWS)])
        first, last = start // head * head, -(-stop // head) * head  # whole heads, whose rows may change places
        return self._prepared(self.bound.read_rows(self.key, first, last))[start - first : stop - first]

    @property
    def bound(self) -> Checkpoint:
        """The checkpoint this is read from."""
        if self.source is None:
            raise InputError(
                f"the weight {self.key} was asked for, and no checkpoint is bound to the graph",
                why="a graph read from text names its weights, and does not hold them",
                fix="use `g4compile compile`, which has the checkpoint at hand",
            )
        return self.source

    def _load(self) -> ir.TensorProtocol:
        return ir.Tensor(self._prepared(self.bound.read(self.key)), name=self.key)

    def _prepared(self, stored: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """``stored`` after the steps. Raises CheckpointError when that is not finite: no number in it may be lost."""
        array = prepare(stored, _word(self.dtype), self.steps)
        check_finite(array, self.key, self.bound)
        return array

    def _with(
        self, steps: tuple[WeightStep, ...], shape: tuple[int, ...] | None = None, dtype: ir.DataType | None = None
    ) -> CheckpointTensor:
        """The same tensor of the same checkpoint, wanted otherwise."""
        return CheckpointTensor(self.key, dtype or self.dtype, shape or static_shape(self), steps, self.source)


def _word(dtype: ir.DataType) -> str:
    """The name of a dtype in a manifest."""
    return str(dtype).lower()


def _takes_rows(step: WeightStep) -> bool:
    return isinstance(step, Shard) and step.axis == ROWS


def lazy_initializers(model: ir.Model) -> dict[str, CheckpointTensor]:
    """All weight references of a graph, by initializer name."""
    return {
        name: value.const_value
        for name, value in model.graph.initializers.items()
        if isinstance(value.const_value, CheckpointTensor)
    }
