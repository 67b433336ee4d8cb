"""Where rules of ATen ops are registered, and what they share. `aten.py` and `convolutions.py` hold them.

A rule gets the importer, the FX node, and its arguments with tensors as `ir.Value`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_ir as ir

from g4compile.trace.importer import Importer, Scalar

RULES: dict[str, Callable[..., Any]] = {}


def rule(*targets: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as the rule of the ATen ops ``targets``."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        RULES.update(dict.fromkeys(targets, function))
        return function

    return register


def from_end(axis: int, rank: int) -> int:
    """``axis`` of a value of ``rank``, counted from the end."""
    return axis - rank if axis >= 0 else axis


def rank(value: ir.Value) -> int:
    assert value.shape is not None
    return len(value.shape)


def operand(i: Importer, value: ir.Value | Scalar, dtype: ir.DataType) -> ir.Value:
    """``value`` in ``dtype``: cast, or a constant."""
    if not isinstance(value, ir.Value):
        return i.constant(value, dtype)
    if value.dtype == dtype:
        return value
    cast: ir.Value = i.op("Cast", [value], {"to": int(dtype)})
    cast.shape, cast.type = value.shape, ir.TensorType(dtype)
    return cast
