"""WindowedMask: what each new position may attend in a cache that keeps recent keys, as an additive float32 mask.

Shapes: position_ids [B, S] int64, keys [B, K, T, D] (only T is read) -> mask [B, 1, S, T]: 0 where a query may look,
-infinity elsewhere. The last key stands at the last position of ``position_ids``; a query at p sees positions p -
window < j <= p. Source: transformers `masking_utils.py`, `sliding_window_overlay`.
"""

from __future__ import annotations

import numpy as np

from g4compile.ops.causal_mask import additive
from g4compile.ops.op import Array, Attribute, Input, Op, Output, span


def reference(position_ids: Array, keys: Array, *, window: int) -> Array:
    total = keys.shape[2]
    at = (position_ids[:, -1:] - (total - 1) + np.arange(total)[None, :])[:, None, :]
    query = position_ids[:, :, None]
    return additive((at <= query) & (at > query - window))


_BODY = """
WindowedMask <window> (position_ids, keys) => (mask) {
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
  query = Unsqueeze (position_ids, last_axis)
  causal = LessOrEqual (at, query)
  window_value = Constant <value_int: int = @window> ()
  oldest = Sub (query, window_value)
  near = Greater (at, oldest)
  allowed = And (causal, near)
  open = Constant <value = float {0}> ()
  closed = Constant <value = float {-inf}> ()
  additive = Where (allowed, open, closed)
  mask = Unsqueeze (additive, head_axis)
}
"""


class WindowedMask(Op):
    position_ids = Input("[B, S]", "I")
    keys = Input("[B, K, T, D]")
    mask = Output("[B, 1, S, T]", "M")
    window = Attribute(int)
    stages = span("scheduled", "quantized")
    reference = staticmethod(reference)
    bodies = {"": _BODY}
