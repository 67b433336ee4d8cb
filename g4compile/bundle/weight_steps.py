"""The steps between a tensor as a checkpoint stores it and the weight that a graph or an engine reads.

Each step is a value. Its text is the word that the manifest and the text form of a graph hold:

    transpose                        the last two axes swapped
    scale=2.828427                   times a float32 in decimal; nine digits give it back exactly
    reorder=rows:512:128             heads of 512 rows; in each, the rotated pairs first (`rotated_first`)
    shard=rows:2:1:4                 rows as 2 equal parts, and of each part the second of 4 shares
    cast=float:bfloat16              rounded from the first dtype to the second, at this place in the order

A stored tensor is first cast to the dtype of its weight, or to the first dtype of the first `cast` among its steps.
Then the steps apply in order. What follows them when a weight is stored as codes is in `weight_codes.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import ml_dtypes
import numpy as np

from g4compile.errors import Defect, InputError

Array = np.ndarray[Any, Any]
ROWS, COLUMNS = "rows", "columns"
# Dtypes that a weight may have while steps apply, by the names that the manifest gives them.
_DTYPES: dict[str, Any] = {"float": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


class WeightStep(Protocol):
    """One step. Rows are the axis before the last of a matrix or of stacked matrices; of a vector, its only axis."""

    def apply(self, array: Array) -> Array:
        """``array`` after this step."""
        ...

    def __str__(self) -> str:
        """The word in a manifest."""
        ...


@dataclass(frozen=True)
class Transpose:
    """The last two axes swapped."""

    def apply(self, array: Array) -> Array:
        return np.ascontiguousarray(np.swapaxes(array, -1, -2))

    undo = apply

    def __str__(self) -> str:
        return "transpose"


@dataclass(frozen=True)
class Scale:
    """Times ``factor``, rounded to the dtype of the array first. The factor is kept to nine digits, as its word is."""

    factor: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", float(f"{self.factor:.9g}"))

    def apply(self, array: Array) -> Array:
        scaled: Array = array * array.dtype.type(self.factor)
        return scaled

    def __str__(self) -> str:
        return f"scale={self.factor:.9g}"


@dataclass(frozen=True)
class Reorder:
    """Heads of ``width`` along ``axis``; in each, the ``rotary`` rotated dimensions first (`rotated_first`)."""

    axis: str
    width: int
    rotary: int

    def apply(self, array: Array) -> Array:
        return self._grouped(array, rotated_first(self.width, self.rotary))

    def undo(self, array: Array) -> Array:
        return self._grouped(array, np.argsort(rotated_first(self.width, self.rotary)))

    def _grouped(self, array: Array, order: Array) -> Array:
        place = _place(array, self.axis)
        sizes = array.shape
        groups = array.reshape(*sizes[:place], -1, self.width, *sizes[place + 1 :])
        return np.ascontiguousarray(groups.take(order, place + 1).reshape(sizes))

    def __str__(self) -> str:
        return f"reorder={self.axis}:{self.width}:{self.rotary}"


@dataclass(frozen=True)
class Shard:
    """``axis`` as ``parts`` equal parts, and of each part the share ``rank`` of ``of`` equal shares."""

    axis: str
    parts: int
    rank: int
    of: int

    def apply(self, array: Array) -> Array:
        place = _place(array, self.axis)
        sizes = array.shape
        split = array.reshape(*sizes[:place], self.parts, self.of, -1, *sizes[place + 1 :])
        taken = split.take(self.rank, place + 1)
        return np.ascontiguousarray(taken.reshape(*sizes[:place], -1, *sizes[place + 1 :]))

    def __str__(self) -> str:
        return f"shard={self.axis}:{self.parts}:{self.rank}:{self.of}"


@dataclass(frozen=True)
class Cast:
    """From ``source`` to ``dtype`` (names as in the manifest): the steps before it compute in ``source``."""

    source: str
    dtype: str

    def apply(self, array: Array) -> Array:
        return cast(array, self.dtype)

    def __str__(self) -> str:
        return f"cast={self.source}:{self.dtype}"


MOVES = (Transpose, Reorder, Shard)  # these change no number, so a cast before them gives what a cast after them gives
_EXAMPLES = "transpose, scale=2.5, reorder=rows:512:128, shard=rows:2:1:4 or cast=float:bfloat16"


def parse_step(word: str) -> WeightStep:
    """The step that ``word`` names. Raises InputError for what is no step, and for numbers that no step has."""
    name, _, rest = word.partition("=")
    values = rest.split(":")
    try:
        match name, values:
            case "transpose", [""]:
                return Transpose()
            case "scale", [factor]:
                if math.isfinite(scale := float(factor)):
                    return Scale(scale)
            case "reorder", [("rows" | "columns") as axis, *sizes]:
                width, rotary = map(int, sizes)
                if width % 2 == rotary % 2 == 0 <= rotary <= width != 0:
                    return Reorder(axis, width, rotary)
            case "shard", [("rows" | "columns") as axis, *sizes]:
                parts, rank, of = map(int, sizes)
                if parts >= 1 and 0 <= rank < of:
                    return Shard(axis, parts, rank, of)
            case "cast", [source, dtype] if source in _DTYPES and dtype in _DTYPES:
                return Cast(source, dtype)
    except ValueError as error:
        raise InputError(f"the step {word!r} of a weight cannot be read", why=str(error), fix=_EXAMPLES) from error
    raise InputError(f"the step {word!r} of a weight cannot be read", fix=_EXAMPLES)


def prepare(stored: Array, dtype: str, steps: Sequence[WeightStep]) -> Array:
    """The weight of ``dtype`` (a name as in the manifest) that ``steps`` make of the tensor ``stored``."""
    array = cast(stored, next((step.source for step in steps if isinstance(step, Cast)), dtype))
    for step in steps:
        array = step.apply(array)
    return array


def undo_reorders(array: Array, steps: Sequence[WeightStep]) -> Array:
    """``array`` with the reorderings among ``steps`` taken back: its rows or columns as the checkpoint has them."""
    for step in reversed(steps):
        if isinstance(step, Reorder):
            array = step.undo(array)
    return array


def rotated_first(width: int, rotary: int) -> Array:
    """int64 [width]: where each dimension of a head comes from when its rotated dimensions stand first.

    The rotated pairs (i, i + width / 2), i < rotary / 2, become (i, i + rotary / 2). The dimensions that are not
    rotated follow in their order.
    """
    pairs = np.arange(rotary // 2)
    rotated = np.concatenate([pairs, pairs + width // 2])
    return np.concatenate([rotated, np.setdiff1d(np.arange(width), rotated)])


def cast(array: Array, dtype: str) -> Array:
    """``array`` in ``dtype``, a name as in the manifest. Raises Defect for one that no weight has."""
    if dtype not in _DTYPES:
        raise Defect(f"a weight of the dtype {dtype} cannot be made by steps")
    return widen(array) if dtype == "float" else array.astype(_DTYPES[dtype], copy=False)


def widen(stored: Array) -> Array:
    """float32 of any float dtype. bfloat16 is the upper half of a float32: a shift takes a quarter of a cast's time."""
    if stored.dtype == ml_dtypes.bfloat16:
        return (stored.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)
    return stored.astype(np.float32, copy=False)


def _place(array: Array, axis: str) -> int:
    return array.ndim - (1 if axis == COLUMNS or array.ndim == 1 else 2)
