"""Which axis of a value counts tokens, and through which operands a node acts on each token alone.

Axes are negative (counted from the end), so that broadcasting keeps them aligned. A value without a token axis
has no entry. Used by `schedule-shared-tail`; one table, so that a new op is one line.
"""

from __future__ import annotations

import onnx_ir as ir

from g4compile.graph import edit
from g4compile.graph.stage import op_name

_ELEMENTWISE = {"Mul", "Add", "Sub", "Div", "Tanh", "Cast", "Cos", "Sin", "Equal", "Or", "Where", "g4.GeGLU"}
_MASKS = ("g4.CausalMask", "g4.WindowedMask", "g4.RingMask")
_FIRST_OPERAND = {"g4.RMSNorm", "g4.Linear", "g4.DualRopeAttention", "g4.MoEExperts"}


def token_axes(graph: ir.Graph) -> dict[ir.Value, int]:
    """The token axis of every value that has one, from the ids and positions ([B, S]: axis -1) on."""
    axes = {value: -1 for value in graph.inputs if value.name in ("input_ids", "position_ids")}
    for node in graph:
        out = _output_axis(node, axes)
        if out is not None:
            axes.update(dict.fromkeys(node.outputs, out))
    return axes


def along_last_axis(node: ir.Node) -> bool:
    """Whether a reducing or sorting op works on the last axis alone and keeps the others where they are."""
    if node.op_type in ("Softmax", "TopK"):
        return bool(node.attributes["axis"].as_int() == -1)
    if node.op_type in ("ReduceSum", "ReduceMean"):
        axes = edit.constant_array(node.inputs[1])
        return axes is not None and axes.tolist() == [-1] and node.attributes["keepdims"].as_int() == 1
    return False


def _output_axis(node: ir.Node, axes: dict[ir.Value, int]) -> int | None:
    name = op_name(node)
    own = [axes.get(value) if value is not None else None for value in node.inputs]
    first = own[0] if own else None
    if name in _ELEMENTWISE:
        known = {axis for axis in own if axis is not None}
        return known.pop() if len(known) == 1 else None
    if name in _FIRST_OPERAND or along_last_axis(node):
        return first
    if name in (*_MASKS, "g4.RopeKeyValue"):
        return None if first is None else -2
    if name == "Gather":
        return _gather_axis(node, own)
    if name == "Transpose" and first is not None:
        order = node.attributes["perm"].as_ints()
        return list(order).index(len(order) + first) - len(order)
    if name == "Reshape" and first == -2:
        target = edit.constant_array(node.inputs[1])
        return None if target is None or target[0] != 0 or target[1] != 0 else 1 - (len(target) - 1) - 1
    if name == "Unsqueeze" and first is not None:
        added = edit.constant_array(node.inputs[1])
        return None if added is None or len(added) != 1 or added[0] >= 0 else first - (1 if added[0] >= first else 0)
    return None


def _gather_axis(node: ir.Node, own: list[int | None]) -> int | None:
    axis = node.attributes["axis"].as_int()
    data, indices = node.inputs
    if own[1] is not None and axis == 0 and data is not None and data.shape is not None:
        return own[1] - (len(data.shape) - 1)
    index = edit.constant_array(indices)
    if own[0] is not None and index is not None and index.ndim == 0 and axis < 0 and axis != own[0]:
        return own[0] + 1 if axis > own[0] else own[0]
    return None


def operand_axes(node: ir.Node, axes: dict[ir.Value, int]) -> dict[int, int]:
    """Operand index -> axis to cut it on, for operands of which the node reads only the tokens it writes.

    An operand with a token axis that is missing here is read whole. Empty for ops that are not in the table.
    """
    name = op_name(node)
    if node.outputs[0] not in axes:
        return {}
    if name == "g4.DualRopeAttention":
        rows = {0: -2, 2: -2, 3: -2}
        return {**rows, 6: -2} if len(node.inputs) > 6 else rows
    if name == "g4.MoEExperts":
        return {0: -2, 1: -2, 2: -2}
    if name in _MASKS:
        return {0: -1}
    if name == "Transpose":
        operand = node.inputs[0]
        return {0: axes[operand]} if operand in axes else {}
    indices = {"Gather": (0, 1), "Reshape": (0,), "Unsqueeze": (0,)}.get(name, range(len(node.inputs)))
    return {index: axes[value] for index in indices if (value := node.inputs[index]) is not None and value in axes}
