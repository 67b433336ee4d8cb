"""Which axis of a value counts tokens, and through which operands a node acts on each token alone.

Axes are negative (counted from the end), so that broadcasting keeps them aligned. A value without a token axis has no
entry. For ops of ours both follow from the shape strings: the axis `S`, or what `...` stands for, is the same token in
operands and outputs.
"""

from __future__ import annotations

import onnx_ir as ir

from g4compile.bundle.requires import BLOCK_BOUNDS
from g4compile.graph import edit
from g4compile.ops.op import Op
from g4compile.ops.registry import is_elementwise, view
from g4compile.ops.shapes import alternatives_of, axis_of, leading_axes

_TOKENS = "S"


def token_axes(graph: ir.Graph) -> dict[ir.Value, int]:
    """The token axis of every value that has one, from the ids and positions ([B, S]: axis -1) on."""
    axes = {value: -1 for value in graph.inputs if value.name in ("input_ids", "position_ids", *BLOCK_BOUNDS)}
    for node in graph:
        axes.update(output_axes(node, axes))
    return axes


def output_axes(node: ir.Node, axes: dict[ir.Value, int]) -> dict[ir.Value, int]:
    """The token axis of each output that has one. ``axes``: those of the operands."""
    op = view(node)
    if op is not None:
        return _axes_by_strings(op, axes)
    out = _standard_output_axis(node, axes)
    return {} if out is None else dict.fromkeys(node.outputs, out)


def along_last_axis(node: ir.Node) -> bool:
    """Whether a reducing or sorting op works on the last axis alone and keeps the others where they are."""
    if node.op_type in ("Softmax", "TopK"):
        return bool(node.attributes["axis"].as_int() == -1)
    if node.op_type in ("ReduceSum", "ReduceMean"):
        axes = edit.constant_array(node.inputs[1]) if len(node.inputs) > 1 else None
        return axes is not None and axes.tolist() == [-1] and node.attributes["keepdims"].as_int() == 1
    return False


def keeps_leading_axes(node: ir.Node) -> bool:
    """Whether ``node`` means the same whatever axes stand before the last."""
    op = view(node)
    if op is None:
        return is_elementwise(node)
    return all(leading_axes(result.shape, 2) for result in op.results)


def operand_axes(node: ir.Node, axes: dict[ir.Value, int]) -> dict[int, int]:
    """Operand index -> axis to cut it on, for operands of which the node reads only the tokens it writes.

    An operand with a token axis that is missing here is read whole. Empty for a node whose result has no token axis.
    """
    if node.outputs[0] not in axes:
        return {}
    op = view(node)
    if op is not None:
        return _by_token(op, axes)
    if node.op_type == "Transpose":
        operand = node.inputs[0]
        return {0: axes[operand]} if operand in axes else {}
    indices = {"Gather": (0, 1), "Reshape": (0,), "Unsqueeze": (0,)}.get(node.op_type, range(len(node.inputs)))
    return {index: axes[value] for index in indices if (value := node.inputs[index]) is not None and value in axes}


def _by_token(op: Op, axes: dict[ir.Value, int]) -> dict[int, int]:
    found = {}
    for index, text in op.operand_texts():
        value = op.node.inputs[index]
        rank = _rank(value)
        place = axis_of(text, _TOKENS, rank)
        if place is not None:
            found[index] = place
        elif value in axes and axes[value] in leading_axes(text, rank):
            found[index] = axes[value]
    return found


def _axes_by_strings(op: Op, axes: dict[ir.Value, int]) -> dict[ir.Value, int]:
    """Of each output: where its `S` is, when an operand with tokens has one; else what the operands' `...` says."""
    by_token = _by_token(op, axes)
    inputs = op.node.inputs
    known = {axis for index, axis in by_token.items() if inputs[index] in axes}
    leading = {index for index, text in op.operand_texts() if alternatives_of(text)[0].leading}
    found = {}
    for value, result in zip(op.node.outputs, op.results, strict=True):
        rank = _rank(value)
        place = axis_of(result.shape, _TOKENS, rank)
        if place is not None and known:
            found[value] = place
        elif (
            len(known) == 1
            and (axis := next(iter(known))) in leading_axes(result.shape, rank)
            and not any(_may_hold(inputs[index], axis) for index in leading - by_token.keys())
        ):
            found[value] = axis
    return found


def _may_hold(value: ir.Value | None, axis: int) -> bool:
    """Whether an operand without a known token axis may have more than one token on ``axis``: it cannot be cut with
    the others."""
    if value is None:
        return False
    return value.shape is None or (_rank(value) >= -axis and value.shape[axis] != 1)


def _rank(value: ir.Value | None) -> int:
    return len(value.shape) if value is not None and value.shape is not None else 0


def _standard_output_axis(node: ir.Node, axes: dict[ir.Value, int]) -> int | None:
    own = [axes.get(value) if value is not None else None for value in node.inputs]
    first = own[0] if own else None
    if is_elementwise(node):
        known = {axis for axis in own if axis is not None}
        if len(known) != 1:
            return None
        (axis,) = known
        rest = [value for value, at in zip(node.inputs, own, strict=True) if at is None]
        return None if any(_may_hold(value, axis) for value in rest) else axis
    if along_last_axis(node):
        return None if first == -1 else first
    if node.op_type == "Gather":
        return _gather_axis(node, own)
    if node.op_type == "Transpose" and first is not None:
        order = node.attributes["perm"].as_ints()
        return list(order).index(len(order) + first) - len(order)
    if node.op_type == "Reshape" and first == -2 and _rank(node.inputs[0]) == 3:
        target = edit.constant_array(node.inputs[1])
        return None if target is None or target[0] != 0 or target[1] != 0 else 1 - (len(target) - 1) - 1
    if node.op_type == "Unsqueeze" and first is not None:
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
