"""Editing a graph: nodes inserted before an anchor, constants shared by value, names that keep the origin.

Passes use this and `onnx_ir`'s own replace and remove; nothing else creates nodes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

Size = int | str | ir.SymbolicDim | None
Constant = int | float | Sequence[int] | np.ndarray[Any, Any]


def module_of(node: ir.Node) -> str:
    """The module path a node came from: its name up to the last slash."""
    return (node.name or "").rpartition("/")[0]


def constant(graph: ir.Graph, value: Constant, dtype: ir.DataType = ir.DataType.INT64) -> ir.Value:
    """An initializer holding ``value``; equal constants are one."""
    array = np.asarray(value).astype(dtype.numpy())
    name = constant_name(array, dtype)
    if name not in graph.initializers:
        tensor = ir.Tensor(array, name=name)
        graph.register_initializer(
            ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(dtype), const_value=tensor)
        )
    return graph.initializers[name]


def constant_name(array: np.ndarray[Any, Any], dtype: ir.DataType) -> str:
    """`const.DTYPE.SHAPE.VALUE`: the value in full when it is short, else a digest; equal data, equal name."""
    if array.size > 4:
        content = hashlib.sha256(array.tobytes()).hexdigest()[:12]
    else:
        content = "_".join(
            str(item) if array.dtype.kind in "iub" else format(float(item), ".9g") for item in array.ravel().tolist()
        )
    return f"const.{dtype.name.lower()}.{'x'.join(map(str, array.shape)) or 's'}.{content}"


def constant_array(value: ir.Value | None) -> np.ndarray[Any, Any] | None:
    """The data of a constant in the graph; None for activations and for weights, which are not read."""
    if value is None or value.const_value is None or isinstance(value.const_value, ir.LazyTensor):
        return None
    return value.const_value.numpy()


def untransposed(value: ir.Value) -> ir.Value | None:
    """What ``value`` is the transpose of, its last two axes swapped; None when it is no such transpose."""
    node, rank = value.producer(), len(value.shape or ())
    if node is None or node.op_type != "Transpose" or rank < 2:
        return None
    order = node.attributes["perm"].as_ints()
    return node.inputs[0] if list(order) == [*range(rank - 2), rank - 1, rank - 2] else None


class Inserter:
    """Creates nodes before ``anchor``, named after the module the anchor came from."""

    def __init__(self, anchor: ir.Node) -> None:
        graph = anchor.graph
        assert isinstance(graph, ir.Graph)
        self.anchor, self.graph = anchor, graph
        self.made: list[ir.Node] = []

    def constant(self, value: Constant, dtype: ir.DataType = ir.DataType.INT64) -> ir.Value:
        return constant(self.graph, value, dtype)

    def op(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Mapping[str, Any] | None = None,
        *,
        shape: Sequence[Size] | None = None,
        dtype: ir.DataType | None = None,
    ) -> ir.Value:
        """A standard op with one output. ``dtype`` defaults to the first input's; an unknown ``shape`` stays unknown."""
        return self.add(ir.node(op_type, inputs, dict(attributes or {})), [shape], dtype or inputs[0].dtype)[0]  # type: ignore[union-attr]  # first inputs are never omitted

    def cast(self, x: ir.Value, dtype: ir.DataType) -> ir.Value:
        """``x`` in ``dtype``; itself when it is that already."""
        if x.dtype == dtype:
            return x
        return self.op("Cast", [x], {"to": int(dtype)}, shape=None if x.shape is None else list(x.shape), dtype=dtype)

    def node(
        self,
        domain: str,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Sequence[ir.Attr],
        overload: str,
        count: int,
    ) -> list[ir.Value]:
        """Any op, its attributes as they are; shapes and dtypes of its ``count`` outputs stay unknown."""
        node = ir.Node(domain, op_type, inputs, attributes, overload=overload, num_outputs=count)
        return self.add(node, [None] * count, None)

    def add(self, node: ir.Node, shapes: Sequence[Sequence[Size] | None], dtype: ir.DataType | None) -> list[ir.Value]:
        """A node made elsewhere: named, its outputs shaped, put before the anchor."""
        node.name = f"{module_of(self.anchor)}/{node.op_type}"
        for value, shape in zip(node.outputs, shapes, strict=True):
            value.shape = None if shape is None else ir.Shape(shape)
            value.type = None if dtype is None else ir.TensorType(dtype)
        self.graph.insert_before(self.anchor, node)
        self.made.append(node)
        return list(node.outputs)


def replace(old: ir.Value, new: ir.Value) -> None:
    """Let every reader of ``old`` read ``new``; a graph output keeps its name."""
    if old.is_graph_output():
        new.name, old.name = old.name, None
        if new.shape is None:
            new.shape = old.shape
        new.type = new.type or old.type
    old.replace_all_uses_with(new, replace_graph_outputs=True)


def name_uniquely(model: ir.Model) -> None:
    """Suffix repeated node names with _2, _3, ... in node order, so that a message names one node."""
    seen: Counter[str] = Counter()
    taken = {node.name for node in model.graph.all_nodes()}
    for node in model.graph.all_nodes():
        name = node.name or f"/{node.op_type}"
        seen[name] += 1
        while seen[name] > 1 and f"{name}_{seen[name]}" in taken:
            seen[name] += 1
        node.name = name if seen[name] == 1 else f"{name}_{seen[name]}"
