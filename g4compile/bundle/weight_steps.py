"""The steps between a stored tensor and the one a graph wants, as words: a manifest can name them, any runtime do them.

    transpose                        the last two axes swapped
    scale=2.828427                   times a float32 in decimal, which nine digits give back exactly
    reorder=rows:512:128             heads of 512 rows, in each the pairs that turn first (`turning_first`)
    reorder=columns:512:128
    shard=rows:2:1:4                 rows as 2 equal parts, and of each the second of 4 shares

Imports no compiler code.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from g4compile.errors import Defect

Array = np.ndarray[Any, Any]
TRANSPOSE, SCALE, REORDER, SHARD = "transpose", "scale=", "reorder=", "shard="
ROWS, COLUMNS = "rows", "columns"


def apply_steps(array: Array, steps: tuple[str, ...]) -> Array:
    """``array`` after ``steps``, in its own dtype. Rows are the axis before the last of a matrix or of stacked ones."""
    for step in steps:
        if step == TRANSPOSE:
            array = np.ascontiguousarray(np.swapaxes(array, -1, -2))
        elif step.startswith(SCALE):
            array = array * array.dtype.type(float(step.removeprefix(SCALE)))
        elif step.startswith(REORDER):
            axis, width, rotary = parse_reorder(step)
            array = _grouped(array, axis, width, turning_first(width, rotary))
        elif step.startswith(SHARD):
            array = _share(array, step)
        else:
            raise Defect(f"unknown step {step!r} of a weight")
    return array


def undo_reorders(array: Array, steps: tuple[str, ...]) -> Array:
    """``array`` with the reorderings among ``steps`` taken back: its rows or columns as the checkpoint has them."""
    for step in reversed(steps):
        if step.startswith(REORDER):
            axis, width, rotary = parse_reorder(step)
            array = _grouped(array, axis, width, np.argsort(turning_first(width, rotary)))
    return array


def parse_reorder(step: str) -> tuple[str, int, int]:
    """Axis, width of a head, and how many of its numbers turn."""
    axis, width, rotary = step.removeprefix(REORDER).split(":")
    return axis, int(width), int(rotary)


def parse_shard(step: str) -> tuple[str, int, int, int]:
    """Axis, equal parts, which share of each, and of how many."""
    axis, parts, rank, of = step.removeprefix(SHARD).split(":")
    return axis, int(parts), int(rank), int(of)


def turning_first(width: int, rotary: int) -> Array:
    """Where the numbers of a head come from when its turning pairs (i, i + width / 2), i < rotary / 2, stand first, as
    (i, i + rotary / 2); the others follow in their order."""
    pairs = np.arange(rotary // 2)
    turning = np.concatenate([pairs, pairs + width // 2])
    return np.concatenate([turning, np.setdiff1d(np.arange(width), turning)])


def widen(stored: Array) -> Array:
    """float32 of any float dtype. bfloat16 is the upper half of a float32: shifting is four times a cast's speed."""
    if stored.dtype == ml_dtypes.bfloat16:
        return (stored.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)
    return stored.astype(np.float32, copy=False)


def axis_of(array: Array, axis: str) -> int:
    """Of a vector, rows are its only axis."""
    return -1 if axis == COLUMNS or array.ndim == 1 else -2


def _grouped(array: Array, axis: str, width: int, order: Array) -> Array:
    place = axis_of(array, axis) % array.ndim
    sizes = array.shape
    groups = array.reshape(*sizes[:place], -1, width, *sizes[place + 1 :])
    return np.ascontiguousarray(groups.take(order, place + 1).reshape(sizes))


def _share(array: Array, step: str) -> Array:
    axis, parts, rank, of = parse_shard(step)
    place = axis_of(array, axis) % array.ndim
    sizes = array.shape
    split = array.reshape(*sizes[:place], parts, of, -1, *sizes[place + 1 :])
    taken = split.take(rank, place + 1)
    return np.ascontiguousarray(taken.reshape(*sizes[:place], -1, *sizes[place + 1 :]))
