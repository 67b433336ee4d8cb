"""The experts over rows grouped by expert, in standard ops: tiles of rows, each with the matrices of one expert.

    order = TopK (expert * A + assignment)              assignments by expert, A = tokens * k, stable
    last  = how many assignments are of an expert or one before it                           [E]
    used  = (counts + tile - 1) / tile                  tiles an expert takes                [E]
    start = sum of used before                          its first tile                       [E]
    expert of a tile = how many experts end at it or before;  row r of it is assignment order[first + r]
    h     = Gather (x, token of the row)                [tiles, tile, H]
    g, u  = Split (h Gather (gate_up, expert)^T)
    p     = (gelu_tanh (g) * u) Gather (down, expert)^T
    y     = sum over k (weight * p[slot of the assignment])

For any number of tokens, without a loop, and without an op whose result has a size that data decides. There are
A / tile + min (E, A) tiles: enough whatever is chosen (`ops/expert_routing.py`). Each copies the two matrices of its
expert, so one token costs k copies, and many at most E + A / tile. Rows that only fill a tile are of the first
assignment, and nobody reads their products. Counts are exact in float32 up to 16 million assignments.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from g4compile.graph.axes import static_size
from g4compile.graph.build import Builder
from g4compile.graph.edit import untransposed
from g4compile.ops.expert_routing import tile_of
from g4compile.ops.moe_experts import MoEExperts
from g4compile.ops.transposed_mat_mul import TransposedMatMul

_FLOAT, _INT = ir.DataType.FLOAT, ir.DataType.INT64


def tiled_experts(node: MoEExperts, build: Builder, tokens: int) -> ir.Value:
    """What stands for the output of ``node``; tiles are of a size for ``tokens``, of which there may be more."""
    width, choices = static_size(node.x, -1), static_size(node.index, -1)
    experts, tile = static_size(node.gate_up, 0), tile_of(tokens)
    tiles = _route(build, node.index, experts, tile)
    rows = build.op("Reshape", node.x, build.constant([-1, width]))
    token = build.op("Div", tiles.assignment, build.constant(choices))
    mine = build.op("Gather", rows, token, axis=0)
    halves = _product(build, mine, node.gate_up, tiles.expert)
    gate, up = build.op_with_outputs(2, "Split", halves, axis=-1, num_outputs=2)
    hidden = build.op("Mul", build.op("Gelu", gate, approximate="tanh"), up)
    products = _product(build, hidden, node.down, tiles.expert)
    by_slot = build.op("Reshape", products, build.constant([-1, width]))
    chosen = build.op("Gather", by_slot, tiles.slot, axis=0)
    by_token = build.cast(build.op("Reshape", chosen, build.constant([-1, choices, width])), _FLOAT)
    shares = build.op("Reshape", node.weight, build.constant([-1, 1, choices]))
    total = build.cast(build.op("MatMul", shares, by_token), node.x.dtype or _FLOAT)
    joined = build.op("Reshape", total, build.op("Shape", node.x))
    joined.shape = node.x.shape
    return joined


def _product(build: Builder, rows: ir.Value, table: ir.Value, expert: ir.Value) -> ir.Value:
    """[tiles, tile, N] of rows [tiles, tile, K] by the matrices [N, K] of ``table`` that tiles are of; one that is a
    transpose is read as it was before."""
    stored = untransposed(table)
    chosen = build.op("Gather", table if stored is None else stored, expert, axis=0)
    if stored is None:
        return TransposedMatMul.insert(build, rows, chosen)
    return build.op("MatMul", rows, chosen)


@dataclass(frozen=True)
class _Tiles:
    """int64. ``expert`` [tiles] of each tile, ``assignment`` [tiles, tile] of its rows; ``slot`` [A]: the row of each
    assignment, of all tiles together."""

    expert: ir.Value
    assignment: ir.Value
    slot: ir.Value


def _route(build: Builder, index: ir.Value, experts: int, tile: int) -> _Tiles:
    one, first = build.constant(1), build.constant([0])
    flat = build.op("Reshape", index, build.constant([-1]))
    total = build.op("Shape", flat)
    count = build.op("Squeeze", total, first)
    number = build.op("Range", build.constant(0), count, one)
    order = _ascending(build, build.op("Add", build.op("Mul", flat, count), number), total)
    at = _ascending(build, order, total)  # where each assignment stands in it
    # How many are of an expert or one before it: sums along the last axis, of numbers that float32 holds.
    names = build.constant(np.arange(experts)[:, None])
    last = _row_sums(build, build.op("LessOrEqual", flat, names))
    before = build.op("Concat", first, build.op("Slice", last, first, build.constant([-1]), first), axis=0)
    counts = build.op("Sub", last, before)
    used = build.op("Div", build.op("Add", counts, build.constant(tile - 1)), build.constant(tile))
    earlier = build.constant(np.tri(experts, k=-1, dtype=np.float32), _FLOAT)
    start = build.cast(build.op("MatMul", earlier, build.cast(used, _FLOAT)), _INT)
    # Tiles, and their rows.
    most = build.op("Min", count, build.constant(experts))
    tiles = build.op("Add", build.op("Div", count, build.constant(tile)), most)
    place = build.op("Unsqueeze", build.op("Range", build.constant(0), tiles, one), build.constant([1]))
    ended = _row_sums(build, build.op("LessOrEqual", build.op("Add", start, used), place))
    expert = build.op("Min", ended, build.constant(experts - 1))

    def of_tile(by_expert: ir.Value) -> ir.Value:
        return build.op("Unsqueeze", build.op("Gather", by_expert, expert, axis=0), build.constant([1]))

    inside = build.constant(np.arange(tile)[None])
    begun = build.op("Mul", build.op("Sub", place, of_tile(start)), build.constant(tile))
    row = build.op("Add", begun, inside)
    filled = build.op("Less", row, of_tile(counts))
    sorted_at = build.op("Where", filled, build.op("Add", of_tile(before), row), build.constant(0))
    # An assignment's row: the first of its expert, and how many of the expert stand before it.
    offset = build.op("Sub", build.op("Mul", start, build.constant(tile)), before)
    slot = build.op("Add", build.op("Gather", offset, flat, axis=0), at)
    return _Tiles(expert, build.op("Gather", order, sorted_at, axis=0), slot)


def _ascending(build: Builder, keys: ir.Value, count: ir.Value) -> ir.Value:
    """The places of ``count`` [1] different ``keys`` in ascending order."""
    return build.op_with_outputs(2, "TopK", keys, count, axis=-1, largest=0, sorted=1)[1]


def _row_sums(build: Builder, true: ir.Value) -> ir.Value:
    """int64: how many of each row of a boolean matrix are ``true``."""
    return build.cast(build.op("ReduceSum", build.cast(true, _FLOAT), build.constant([-1]), keepdims=0), _INT)
