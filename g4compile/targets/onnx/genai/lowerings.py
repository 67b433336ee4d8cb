"""Masks of a sliding layer whose rows may have fewer tokens than the keys that are read: a key before the first token
of a row is none.

The keys of one call are as many in every row, those of the longest. The ops' own bodies have rows of equal lengths.
"""

from __future__ import annotations

import onnx_ir as ir

from g4compile.graph.build import Builder
from g4compile.ops.block_mask import BlockMask
from g4compile.ops.windowed_mask import WindowedMask
from g4compile.passes.legalize import Lowerings
from g4compile.targets.onnx.lowerings import LOWERINGS

_FLOAT = ir.DataType.FLOAT


def _windowed_mask(op: WindowedMask, build: Builder) -> list[ir.Value]:
    at, query = _key_positions(op, build), _column(op.position_ids, build)
    near = build.op("Greater", at, build.op("Sub", query, build.constant(op.window)))
    return [_additive(build.op("And", build.op("LessOrEqual", at, query), near), at, build)]


def _block_mask(op: BlockMask, build: Builder) -> list[ir.Value]:
    at = _key_positions(op, build)
    query, first, last = (_column(value, build) for value in (op.position_ids, op.block_starts, op.block_ends))
    near = build.op("Greater", at, build.op("Sub", query, build.constant(op.window)))
    inside = build.op("LessOrEqual", first, at)
    seen = build.op("And", build.op("Or", near, inside), build.op("LessOrEqual", at, last))
    return [_additive(seen, at, build)]


def _key_positions(op: WindowedMask | BlockMask, build: Builder) -> ir.Value:
    """int64 [B, 1, T]: the last key stands at the last position."""
    total = build.op("Shape", op.keys, start=2, end=3)
    newest = build.op("Gather", op.position_ids, build.constant([-1]), axis=1)
    oldest = build.op("Sub", newest, build.op("Sub", total, build.constant(1)))
    count = build.op("Range", build.constant(0), build.op("Squeeze", total, build.constant([0])), build.constant(1))
    return build.op("Unsqueeze", build.op("Add", oldest, count), build.constant([1]))


def _column(value: ir.Value, build: Builder) -> ir.Value:
    return build.op("Unsqueeze", value, build.constant([-1]))


def _additive(seen: ir.Value, at: ir.Value, build: Builder) -> ir.Value:
    """float32 [B, 1, S, T] of what is ``seen``, boolean [B, S, T], of keys at positions from 0."""
    there = build.op("LessOrEqual", build.constant(0), at)
    open_, closed = (build.constant(value, _FLOAT) for value in (0.0, float("-inf")))
    mask = build.op("Where", build.op("And", seen, there), open_, closed)
    return build.op("Unsqueeze", mask, build.constant([1]))


GENAI_LOWERINGS: Lowerings = {**LOWERINGS, BlockMask: _block_mask, WindowedMask: _windowed_mask}
