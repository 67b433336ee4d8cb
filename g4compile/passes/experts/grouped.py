"""The experts over rows grouped by expert: two kernels that TensorRT takes as plugins, routing around them in native ops.

    rank = CumSum (OneHot (index))          how many before chose the same expert        [A, E], A = tokens * k
    used = (counts + tile - 1) / tile       tiles an expert takes                        [E]
    slot = tile * before (used) + rank      where an assignment's row stands             [A]
    row_token   = Scatter (-1, slot, a / k) [slots]         tile_expert = how many experts end before a tile, or -1
    h = g4.ExpertGateUp (x, row_token, tile_expert, gate_up)
    y = g4.ExpertDown (h, row_token, tile_expert, down)
    out = sum over k (weight * Gather (y, slot))

No row is scattered into a sum: each assignment has a slot of its own and is read back from it. There are as many slots as
``tokens`` can need (`ops/expert_routing.py`, the same in NumPy), so the sizes of kernels do not depend on what was chosen. 4-bit
weights are handed on as codes in panels.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from g4compile.errors import InputError
from g4compile.graph import edit
from g4compile.ops.expert_routing import slot_count, tile_of
from g4compile.ops.insert import insert_op
from g4compile.weights.engine_tensors import EngineTensor
from g4compile.weights.formats.int4 import Int4Matrix
from g4compile.weights.formats.panels import panel_matrix

_FLOAT, _INT, _BOOL = ir.DataType.FLOAT, ir.DataType.INT64, ir.DataType.BOOL


def grouped_experts(node: ir.Node, insert: edit.Inserter, tokens: int) -> ir.Value:
    """What stands for the output of the `g4.MoEExperts` ``node``, for at most ``tokens``."""
    x, index, weight, gate_up, down = node.inputs
    assert x is not None and index is not None and weight is not None and gate_up is not None and down is not None
    assert x.shape is not None and index.shape is not None and gate_up.shape is not None
    width, choices, (experts, both) = x.shape[-1], index.shape[-1], list(gate_up.shape)[:2]
    assert isinstance(width, int) and isinstance(choices, int) and isinstance(experts, int) and isinstance(both, int)
    tile = tile_of(tokens)
    slots = slot_count(tokens, choices, experts, tile)
    slot, row_token, tile_expert = _route(insert, index, choices, experts, tile, slots)
    rows = insert.op("Reshape", [x, insert.constant([-1, width])], shape=[None, width])
    routing, sizes = [row_token, tile_expert], {"tile": tile}
    stored, block = _stored(insert, gate_up)
    (hidden,) = insert_op(
        insert, "ExpertGateUp", [rows, *routing, *stored], {"inner": both // 2, **sizes, "block": block}
    )
    stored, block = _stored(insert, down)
    (out,) = insert_op(insert, "ExpertDown", [hidden, *routing, *stored], {"width": width, **sizes, "block": block})
    chosen = insert.op("Gather", [out, slot], {"axis": 0}, shape=[None, width])
    by_token = insert.op("Reshape", [chosen, insert.constant([-1, choices, width])], shape=[None, choices, width])
    column = insert.op("Reshape", [weight, insert.constant([-1, choices, 1])], shape=[None, choices, 1])
    terms = insert.op("Mul", [insert.cast(by_token, _FLOAT), column], shape=[None, choices, width])
    total = insert.op("ReduceSum", [terms, insert.constant([-2])], {"keepdims": 0}, shape=[None, width])
    shape = insert.op("Shape", [x], shape=[len(x.shape)], dtype=_INT)
    return insert.op("Reshape", [insert.cast(total, x.dtype or _FLOAT), shape], shape=list(x.shape))


def _route(
    insert: edit.Inserter, index: ir.Value, choices: int, experts: int, tile: int, slots: int
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """The slot of each assignment [A], row_token [slots] and tile_expert [slots / tile]."""
    flat = insert.op("Reshape", [index, insert.constant([-1])], shape=[None])
    ends = [flat, insert.constant(experts), insert.constant([0, 1])]
    hot = insert.op("OneHot", ends, {"axis": -1}, shape=[None, experts])
    along, across = insert.constant([0]), insert.constant([1])
    before = insert.op("CumSum", [hot, insert.constant(0)], {"exclusive": 1}, shape=[None, experts])
    own = insert.op("Mul", [before, hot], shape=[None, experts])
    rank = insert.op("ReduceSum", [own, across], {"keepdims": 0}, shape=[None])
    # Of the assignments before one, each chose some expert: their sum is its number.
    number = insert.op("ReduceSum", [before, across], {"keepdims": 0}, shape=[None])
    token = insert.op("Div", [number, insert.constant(choices)], shape=[None])
    counts = insert.op("ReduceSum", [hot, along], {"keepdims": 0}, shape=[experts])
    padded = insert.op("Add", [counts, insert.constant(tile - 1)], shape=[experts])
    used = insert.op("Div", [padded, insert.constant(tile)], shape=[experts])
    behind = insert.op("CumSum", [used, insert.constant(0)], shape=[experts])
    start = insert.op("Gather", [insert.op("Sub", [behind, used], shape=[experts]), flat], {"axis": 0}, shape=[None])
    first = insert.op("Mul", [start, insert.constant(tile)], shape=[None])
    slot = insert.op("Add", [first, rank], shape=[None])
    empty = insert.constant(np.full(slots, -1, np.int64))
    row_token = insert.op("ScatterElements", [empty, slot, token], {"axis": 0}, shape=[slots])
    return slot, row_token, _tile_expert(insert, used, behind, experts, slots // tile)


def _tile_expert(insert: edit.Inserter, used: ir.Value, behind: ir.Value, experts: int, tiles: int) -> ir.Value:
    """The expert of each tile: how many end at it or before; -1 behind the last tile that is used."""
    column = insert.constant(np.arange(tiles, dtype=np.int64)[:, None])
    ended = insert.op("LessOrEqual", [behind, column], shape=[tiles, experts], dtype=_BOOL)
    count = insert.op("ReduceSum", [insert.cast(ended, _INT), insert.constant([1])], {"keepdims": 0}, shape=[tiles])
    total = insert.op("ReduceSum", [used, insert.constant([0])], {"keepdims": 1}, shape=[1])
    at = insert.constant(np.arange(tiles, dtype=np.int64))
    taken = insert.op("Greater", [total, at], shape=[tiles], dtype=_BOOL)
    return insert.op("Where", [taken, count, insert.constant(-1)], shape=[tiles], dtype=_INT)


def _stored(insert: edit.Inserter, weight: ir.Value) -> tuple[list[ir.Value], int]:
    """The weight as a kernel reads it, and how many weights of it share a scale: codes in panels, or itself and 0."""
    producer = weight.producer()
    if producer is None:
        return [weight], 0
    codes = producer.inputs[0].const_value if producer.inputs[0] is not None else None
    if not isinstance(codes, EngineTensor) or not isinstance(codes.matrix, Int4Matrix):
        raise InputError(
            "experts grouped by kernels read bfloat16 weights or 4-bit codes",
            where=str(weight.name),
            fix="the form gather or dense",
        )
    matrix = panel_matrix(codes.matrix)
    parts = []
    for part in ("codes", "scales"):
        tensor = EngineTensor(matrix, part)
        name, kind = f"{matrix.weight.key}.panels.{part}", ir.TensorType(tensor.dtype)
        value = ir.Value(name=name, shape=tensor.shape, type=kind, const_value=tensor)
        insert.graph.register_initializer(value)
        parts.append(value)
    return parts, matrix.form.block
