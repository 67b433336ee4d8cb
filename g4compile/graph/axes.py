"""Sizes of values: read where they must be known, changed where a pass knows better."""

from __future__ import annotations

import onnx_ir as ir

from g4compile.errors import Defect

Size = int | str | ir.SymbolicDim | None


def sizes_of(value: ir.Value | None) -> list[int | ir.SymbolicDim]:
    """All sizes of ``value``. Raises Defect when its rank is not known."""
    if value is None or value.shape is None:
        raise Defect("the shape of a value is not known", where=str(value.name) if value is not None else "")
    return list(value.shape)


def static_size(value: ir.Value | None, axis: int) -> int:
    """One size of ``value``, which must be a number. Raises Defect."""
    size = sizes_of(value)[axis]
    if not isinstance(size, int):
        raise Defect(f"size {axis} of a value must be a number, it is {size}", where=str(value.name) if value else "")
    return size


def resize(value: ir.Value, axis: int, size: Size) -> None:
    """Give ``value`` another size on ``axis``."""
    sizes: list[Size] = list(sizes_of(value))
    sizes[axis] = size
    value.shape = ir.Shape(sizes)
