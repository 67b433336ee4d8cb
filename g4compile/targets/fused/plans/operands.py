"""What a plan reads of a node: its static sizes, and its attributes."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from g4compile.errors import Defect
from g4compile.graph.stage import describe
from g4compile.targets.kernels.product_kernels import CODES, Matrices


def has(node: ir.Node, index: int) -> bool:
    return index < len(node.inputs) and node.inputs[index] is not None


def sizes(node: ir.Node, index: int) -> list[Any]:
    """Of input ``index``."""
    value = node.inputs[index]
    if value is None or value.shape is None:
        raise Defect(f"{describe(node)} has no sizes of its input {index}")
    return [size if isinstance(size, int) else str(size) for size in value.shape]


def last(node: ir.Node, index: int) -> int:
    """The last size of input ``index``, which is known."""
    size = sizes(node, index)[-1]
    if not isinstance(size, int):
        raise Defect(f"{describe(node)} does not know the last size of its input {index}")
    return size


def value(node: ir.Node, name: str) -> Any:
    """The attribute ``name``."""
    return node.attributes[name].value


def matrices(node: ir.Node, first: int, columns: int, count: int, grouped: bool = False) -> Matrices:
    """The weights at inputs ``first`` to ``first + count``, of ``columns``."""
    rows = [sizes(node, first + i)[1 if grouped else 0] for i in range(count) if has(node, first + i)]
    bits = value(node, "bits") if "bits" in node.attributes else CODES
    block = value(node, "block") if bits != CODES else 1
    return Matrices(tuple(rows), columns, bits, block, grouped)
