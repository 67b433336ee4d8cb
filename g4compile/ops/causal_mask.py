"""CausalMask: what each new position may attend in a buffer of keys, as an additive float32 mask.

Shapes: position_ids [B, S] int64, keys [B, K, T, D] (only T is read) -> mask [B, 1, S, T]: 0 where a query may look,
-infinity elsewhere. Key j stands at position j; a query at position p sees j <= p. Slots behind the last written one
are masked by that alone, so it serves preallocated buffers of any capacity. Source: transformers `masking_utils.py`,
`causal_mask_function`.
"""

from __future__ import annotations

import numpy as np

from g4compile.ops.op import Array, Input, Op, Output, span


def additive(allowed: Array) -> Array:
    """float32 [B, 1, S, T] of what is ``allowed``, boolean [B, S, T]."""
    return np.where(allowed, np.float32(0), np.float32(-np.inf))[:, None]


def reference(position_ids: Array, keys: Array) -> Array:
    at = np.arange(keys.shape[2])[None, None, :]
    return additive(at <= position_ids[:, :, None])


_BODY = """
CausalMask (position_ids, keys) => (mask) {
  zero = Constant <value_int = 0> ()
  one = Constant <value_int = 1> ()
  first = Constant <value_ints = [0]> ()
  last_axis = Constant <value_ints = [-1]> ()
  head_axis = Constant <value_ints = [1]> ()
  total = Shape <start = 2, end = 3> (keys)
  total_scalar = Squeeze (total, first)
  at = Range (zero, total_scalar, one)
  query = Unsqueeze (position_ids, last_axis)
  allowed = LessOrEqual (at, query)
  open = Constant <value = float {0}> ()
  closed = Constant <value = float {-inf}> ()
  additive = Where (allowed, open, closed)
  mask = Unsqueeze (additive, head_axis)
}
"""


class CausalMask(Op):
    position_ids = Input("[B, S]", "I")
    keys = Input("[B, K, T, D]")
    mask = Output("[B, 1, S, T]", "M")
    stages = span("scheduled", "quantized")
    reference = staticmethod(reference)
    bodies = {"": _BODY}
