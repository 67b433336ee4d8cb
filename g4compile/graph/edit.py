"""Editing a graph: constants shared by value, readers given another value, names that keep the origin."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

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
