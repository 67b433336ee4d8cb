"""RingBlockMask: `BlockMask` over a buffer that is written round and round, as an additive float32 mask.

Shapes: position_ids, block_starts, block_ends [B, S] int64, keys [B, K, T, D] (only T is read) -> mask [B, 1, S, T]: 0
where a query may look, -infinity elsewhere. Slot s of the T slots holds the newest position up to the last one of
``position_ids`` that is s modulo T, or nothing yet, as in `RingMask`; what a query sees is what `BlockMask` says.
Sources: those of `BlockMask`.
"""

from __future__ import annotations

import numpy as np

from g4compile.ops.causal_mask import additive
from g4compile.ops.op import Array, Attribute, Input, Op, Output, span


def reference(position_ids: Array, block_starts: Array, block_ends: Array, keys: Array, *, window: int) -> Array:
    total = keys.shape[2]
    last = position_ids[:, -1:]
    at = (last - (last - np.arange(total)[None, :]) % total)[:, None, :]
    near = (at > position_ids[:, :, None] - window) | (at >= block_starts[:, :, None])
    return additive((at >= 0) & near & (at <= block_ends[:, :, None]))


_BODY = """
RingBlockMask <window> (position_ids, block_starts, block_ends, keys) => (mask) {
  zero = Constant <value_int = 0> ()
  one = Constant <value_int = 1> ()
  first = Constant <value_ints = [0]> ()
  last_axis = Constant <value_ints = [-1]> ()
  head_axis = Constant <value_ints = [1]> ()
  total = Shape <start = 2, end = 3> (keys)
  total_scalar = Squeeze (total, first)
  slots = Range (zero, total_scalar, one)
  newest_index = Constant <value_ints = [-1]> ()
  newest = Gather <axis = 1> (position_ids, newest_index)
  distance = Sub (newest, slots)
  age = Mod (distance, total)
  at_row = Sub (newest, age)
  at = Unsqueeze (at_row, head_axis)
  latest = Unsqueeze (block_ends, last_axis)
  not_behind = LessOrEqual (at, latest)
  window_value = Constant <value_int: int = @window> ()
  outside_window = Sub (position_ids, window_value)
  outside_block = Sub (block_starts, one)
  of_window = LessOrEqual (outside_window, outside_block)
  nearer = Where (of_window, outside_window, outside_block)
  oldest = Unsqueeze (nearer, last_axis)
  near = Greater (at, oldest)
  seen = And (not_behind, near)
  written = LessOrEqual (zero, at)
  allowed = And (seen, written)
  open = Constant <value = float {0}> ()
  closed = Constant <value = float {-inf}> ()
  additive = Where (allowed, open, closed)
  mask = Unsqueeze (additive, head_axis)
}
"""


class RingBlockMask(Op):
    position_ids = Input("[B, S]", "I")
    block_starts = Input("[B, S]", "I")
    block_ends = Input("[B, S]", "I")
    keys = Input("[B, K, T, D]")
    mask = Output("[B, 1, S, T]", "M")
    window = Attribute(int)
    stages = span("scheduled", "quantized")
    reference = staticmethod(reference)
    bodies = {"": _BODY}
