"""Nodes of our domain in a graph: shapes and dtypes of the outputs follow from the op's own rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from g4compile.graph.edit import Inserter
from g4compile.ops import DOMAIN, OPS

_DTYPES = {"I": ir.DataType.INT64, "M": ir.DataType.FLOAT, "Q": ir.DataType.INT8}


def insert_op(
    insert: Inserter, name: str, inputs: Sequence[ir.Value], attributes: Mapping[str, Any] | None = None
) -> list[ir.Value]:
    """Insert `g4.NAME`; which body it has follows from the number of ``inputs``."""
    op = OPS[name]
    shapes = [tuple(size if isinstance(size, int) else str(size) for size in value.shape or ()) for value in inputs]
    node = ir.node(
        name,
        inputs,
        dict(attributes or {}),
        domain=DOMAIN,
        overload=op.overload(len(inputs)),
        num_outputs=len(op.outputs),
    )
    first = next((value.dtype for value, operand in zip(inputs, op.inputs, strict=False) if operand.kind == "T"), None)
    values = insert.add(node, op.infer(shapes, attributes or {}), first)
    for value, operand in zip(values, op.outputs, strict=True):
        if operand.kind in _DTYPES:
            value.type = ir.TensorType(_DTYPES[operand.kind])
    return values
