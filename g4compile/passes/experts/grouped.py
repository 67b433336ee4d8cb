"""The experts over rows grouped by expert: two ops for kernels of ours, with the routing around them in standard ops.

    rank = CumSum (OneHot (index))          how many before chose the same expert        [A, E], A = tokens * k
    used = (counts + tile - 1) / tile       tiles an expert takes                        [E]
    slot = tile * before (used) + rank      where an assignment's row stands             [A]
    row_token   = Scatter (-1, slot, a / k) [slots]         tile_expert = how many experts end before a tile, or -1
    h = g4.ExpertGateUp (x, row_token, tile_expert, gate_up)
    y = g4.ExpertDown (h, row_token, tile_expert, down)
    out = sum over k (weight * Gather (y, slot))

No row is scattered into a sum: each assignment has a slot of its own and is read back from it. There are as many slots
as ``tokens`` can need (`ops/expert_routing.py`, the same in NumPy), so the sizes of kernels do not depend on what was
chosen. 4-bit weights are handed on as codes in panels.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from g4compile.errors import InputError
from g4compile.graph.axes import static_size
from g4compile.graph.build import Builder
from g4compile.ops.expert_down import ExpertDown
from g4compile.ops.expert_gate_up import ExpertGateUp
from g4compile.ops.expert_routing import slot_count, tile_of
from g4compile.ops.moe_experts import MoEExperts
from g4compile.weights.engine_tensors import EngineTensor
from g4compile.weights.formats.int4 import Int4Matrix
from g4compile.weights.formats.panels import panel_matrix

_FLOAT, _INT = ir.DataType.FLOAT, ir.DataType.INT64


def grouped_experts(node: MoEExperts, build: Builder, tokens: int) -> ir.Value:
    """What stands for the output of ``node``, for at most ``tokens``."""
    width, choices = static_size(node.x, -1), static_size(node.index, -1)
    experts, inner = static_size(node.gate_up, 0), static_size(node.gate_up, 1) // 2
    tile = tile_of(tokens)
    slot, row_token, tile_expert = _route(build, node.index, experts, tile, slot_count(tokens, choices, experts, tile))
    rows = build.op("Reshape", node.x, build.constant([-1, width]))
    stored, block = _stored(build, node.gate_up)
    hidden = ExpertGateUp.insert(build, rows, row_token, tile_expert, *stored, inner=inner, tile=tile, block=block)
    stored, block = _stored(build, node.down)
    out = ExpertDown.insert(build, hidden, row_token, tile_expert, *stored, width=width, tile=tile, block=block)
    chosen = build.op("Gather", out, slot, axis=0)
    by_token = build.op("Reshape", chosen, build.constant([-1, choices, width]))
    column = build.op("Reshape", node.weight, build.constant([-1, choices, 1]))
    terms = build.op("Mul", build.cast(by_token, _FLOAT), column)
    total = build.op("ReduceSum", terms, build.constant([-2]), keepdims=0)
    joined = build.op("Reshape", build.cast(total, node.x.dtype or _FLOAT), build.op("Shape", node.x))
    joined.shape = node.x.shape
    return joined


def _route(build: Builder, index: ir.Value, experts: int, tile: int, slots: int) -> tuple[ir.Value, ir.Value, ir.Value]:
    """The slot of each assignment [A], row_token [slots] and tile_expert [slots / tile]."""
    flat = build.op("Reshape", index, build.constant([-1]))
    hot = build.op("OneHot", flat, build.constant(experts), build.constant([0, 1]), axis=-1)
    along, across = build.constant([0]), build.constant([1])
    before = build.op("CumSum", hot, build.constant(0), exclusive=1)
    rank = build.op("ReduceSum", build.op("Mul", before, hot), across, keepdims=0)
    # Of the assignments before one, each chose some expert: their sum is its number.
    number = build.op("ReduceSum", before, across, keepdims=0)
    token = build.op("Div", number, build.constant(static_size(index, -1)))
    counts = build.op("ReduceSum", hot, along, keepdims=0)
    used = build.op("Div", build.op("Add", counts, build.constant(tile - 1)), build.constant(tile))
    behind = build.op("CumSum", used, build.constant(0))
    start = build.op("Gather", build.op("Sub", behind, used), flat, axis=0)
    slot = build.op("Add", build.op("Mul", start, build.constant(tile)), rank)
    empty = build.constant(np.full(slots, -1, np.int64))
    row_token = build.op("ScatterElements", empty, slot, token, axis=0)
    return slot, row_token, _tile_expert(build, used, behind, slots // tile)


def _tile_expert(build: Builder, used: ir.Value, behind: ir.Value, tiles: int) -> ir.Value:
    """The expert of each tile: how many end at it or before; -1 behind the last tile that is used."""
    column = build.constant(np.arange(tiles, dtype=np.int64)[:, None])
    ended = build.cast(build.op("LessOrEqual", behind, column), _INT)
    count = build.op("ReduceSum", ended, build.constant([1]), keepdims=0)
    total = build.op("ReduceSum", used, build.constant([0]), keepdims=1)
    taken = build.op("Greater", total, build.constant(np.arange(tiles, dtype=np.int64)))
    return build.op("Where", taken, count, build.constant(-1))


def _stored(build: Builder, weight: ir.Value) -> tuple[list[ir.Value], int]:
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
        build.graph.register_initializer(value)
        parts.append(value)
    return parts, matrix.format.block
