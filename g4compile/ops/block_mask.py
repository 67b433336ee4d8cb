"""BlockMask: a windowed mask in which the tokens of an image see each other, as an additive float32 mask.

Shapes: position_ids, block_starts, block_ends [B, S] int64, keys [B, K, T, D] (only T is read) -> mask [B, 1, S, T]: 0
where a query may look, -infinity elsewhere. The last key stands at the last position of ``position_ids``. A query at p
of a block from ``block_starts`` to ``block_ends`` sees positions j <= block_ends of the window, j > p - window, or of
the block, j >= block_starts. For a token of no block both are p, and the mask is that of `WindowedMask`; where
the window cuts blocks too, block_starts is p for all.
Sources: transformers `masking_utils.py`, `blockwise_overlay` and `sliding_window_overlay`; joined by "or" in
`create_sliding_window_causal_mask` (12B), by "and" in `create_masks_for_vision_model` (26B, 31B).
"""

from __future__ import annotations

import numpy as np

from g4compile.ops.causal_mask import additive
from g4compile.ops.op import Array, Attribute, Input, Op, Output, span


def reference(position_ids: Array, block_starts: Array, block_ends: Array, keys: Array, *, window: int) -> Array:
    total = keys.shape[2]
    at = (position_ids[:, -1:] - (total - 1) + np.arange(total)[None, :])[:, None, :]
    near = at > position_ids[:, :, None] - window
    return additive((at <= block_ends[:, :, None]) & (near | (at >= block_starts[:, :, None])))


_BODY = """
BlockMask <window> (position_ids, block_starts, block_ends, keys) => (mask) {
  zero = Constant <value_int = 0> ()
  one = Constant <value_int = 1> ()
  first = Constant <value_ints = [0]> ()
  last_axis = Constant <value_ints = [-1]> ()
  head_axis = Constant <value_ints = [1]> ()
  total = Shape <start = 2, end = 3> (keys)
  total_scalar = Squeeze (total, first)
  offsets = Range (zero, total_scalar, one)
  newest_index = Constant <value_ints = [-1]> ()
  newest = Gather <axis = 1> (position_ids, newest_index)
  keys_before_newest = Sub (total, one)
  oldest_key = Sub (newest, keys_before_newest)
  at_row = Add (oldest_key, offsets)
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
  allowed = And (not_behind, near)
  open = Constant <value = float {0}> ()
  closed = Constant <value = float {-inf}> ()
  additive = Where (allowed, open, closed)
  mask = Unsqueeze (additive, head_axis)
}
"""


class BlockMask(Op):
    position_ids = Input("[B, S]", "I")
    block_starts = Input("[B, S]", "I")
    block_ends = Input("[B, S]", "I")
    keys = Input("[B, K, T, D]")
    mask = Output("[B, 1, S, T]", "M")
    window = Attribute(int)
    stages = span("scheduled", "quantized")
    reference = staticmethod(reference)
    bodies = {"": _BODY}
