"""CausalMask, WindowedMask and RingMask: what each new position may attend, as an additive float32 mask.

Shapes: position_ids [B, S] int64, keys [B, K, T, D] (only T is read) -> mask [B, 1, S, T]: 0 where a query
may look, -infinity elsewhere.

CausalMask: key j stands at position j; a query at position p sees j <= p. Slots behind the last written one
are masked by that alone, so it serves preallocated buffers of any capacity.
WindowedMask: the last key stands at the last position of ``position_ids``; a query at p sees positions
p - window < j <= p. It serves caches that keep only recent keys.
RingMask: the same for a buffer of T slots written round and round: slot s holds the newest position up to the last one of
``position_ids`` that is s modulo T, or nothing yet.
Source: transformers `masking_utils.py`, `causal_mask_function` and `sliding_window_overlay`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from g4compile.ops.registry import Array, Attributes, Op, Operand, Shape


def _additive(allowed: Array) -> Array:
    return np.where(allowed, np.float32(0), np.float32(-np.inf))[:, None]


def causal_reference(position_ids: Array, keys: Array) -> Array:
    at = np.arange(keys.shape[2])[None, None, :]
    return _additive(at <= position_ids[:, :, None])


def windowed_reference(position_ids: Array, keys: Array, *, window: int) -> Array:
    total = keys.shape[2]
    at = (position_ids[:, -1:] - (total - 1) + np.arange(total)[None, :])[:, None, :]
    query = position_ids[:, :, None]
    return _additive((at <= query) & (at > query - window))


def ring_reference(position_ids: Array, keys: Array, *, window: int) -> Array:
    total = keys.shape[2]
    last = position_ids[:, -1:]
    at = (last - (last - np.arange(total)[None, :]) % total)[:, None, :]
    query = position_ids[:, :, None]
    return _additive((at >= 0) & (at <= query) & (at > query - window))


def infer(shapes: Sequence[Shape], attributes: Attributes) -> list[Shape]:
    batch, new = shapes[0]
    return [(batch, 1, new, shapes[1][2])]


_CAUSAL = """
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

_WINDOWED = """
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

_RING = """
RingMask <window> (position_ids, keys) => (mask) {
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
  query = Unsqueeze (position_ids, last_axis)
  causal = LessOrEqual (at, query)
  window_value = Constant <value_int: int = @window> ()
  oldest = Sub (query, window_value)
  near = Greater (at, oldest)
  seen = And (causal, near)
  written = LessOrEqual (zero, at)
  allowed = And (seen, written)
  open = Constant <value = float {0}> ()
  closed = Constant <value = float {-inf}> ()
  additive = Where (allowed, open, closed)
  mask = Unsqueeze (additive, head_axis)
}
"""

_OPERANDS = (Operand("position_ids", "[B, S]", "I"), Operand("keys", "[B, K, T, D]"))
_MASK = (Operand("mask", "[B, 1, S, T]", "M"),)

CAUSAL_MASK = Op("CausalMask", __doc__ or "", _OPERANDS, _MASK, causal_reference, infer, {"": _CAUSAL}).register()
WINDOWED_MASK = Op(
    "WindowedMask", __doc__ or "", _OPERANDS, _MASK, windowed_reference, infer, {"": _WINDOWED}, {"window": int}
).register()
RING_MASK = Op(
    "RingMask", __doc__ or "", _OPERANDS, _MASK, ring_reference, infer, {"": _RING}, {"window": int}
).register()
