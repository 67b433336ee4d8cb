"""Bytes that a step's values take between layers, from the graph alone: an engine states its own, once one is
loaded."""

from __future__ import annotations

import onnx_ir as ir

from g4compile.ops.registry import view
from g4compile.targets.tensorrt.steps import Sizes

# A builder computes these on the way from one kernel to the next, so their results are never stored.
_FUSED = {
    "Cast",
    "Mul",
    "Add",
    "Sub",
    "Div",
    "Gelu",
    "Tanh",
    "Unsqueeze",
    "Reshape",
    "Split",
    "Gather",
    "RMSNormalization",
}


def activation_bytes(graph: ir.Graph, most: Sizes) -> int:
    """The largest sum of values that are live at once at the ``most`` of dynamic sizes, with what elementwise layers
    compute counted as fused, and caches, which are updated in place, not counted. Codes are dequantised on the way, but
    4-bit ones of a matrix product, which are stored. Sizes that are not known count as nothing."""
    sizes = {name: size for name, (_, _, size) in most.items()}
    last: dict[ir.Value, int] = {}
    nodes = list(graph)
    for index, node in enumerate(nodes):
        for value in node.inputs:
            if value is not None:
                last[value] = index
    live, found = dict[ir.Value, int](), 0
    for index, node in enumerate(nodes):
        if node.op_type != "TensorScatter" and node.op_type not in _FUSED and not _on_the_way(node):
            live.update({value: _bytes(value, sizes) for value in node.outputs})
        found = max(found, sum(live.values()))
        for value in [value for value in live if last.get(value, -1) <= index and not value.is_graph_output()]:
            del live[value]
    return found


def _on_the_way(node: ir.Node) -> bool:
    """Whether a dequantisation is part of what reads it: all are, but of 4-bit codes that a matrix product reads."""
    codes = node.inputs[0] if node.op_type == "DequantizeLinear" else None
    if codes is None or codes.dtype != ir.DataType.INT4:
        return codes is not None
    return not any((reader.op_type == "MatMul" or view(reader) is not None) for reader in node.outputs[0].consumers())


def _bytes(value: ir.Value, sizes: dict[str, int]) -> int:
    if value.shape is None or value.dtype is None:
        return 0
    count = 1
    for size in value.shape:
        known = size if isinstance(size, int) else sizes.get(str(size))
        if known is None:
            return 0
        count *= known
    return int(count * value.dtype.bitwidth // 8)
