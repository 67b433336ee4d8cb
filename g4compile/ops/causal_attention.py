"""CausalAttention: softmax(scale * q k^T + causal and window mask) v, grouped heads, the queries last in the keys.

Shapes: query [B, N, S, D], key [B, K, T, D], value [B, K, T, D] -> out [B, S, N, D]; N a multiple of K. Query i
stands at key T - S + i; it sees keys up to itself and, when window > 0, only the last `window` of those.
What is traced; `fuse-dual-rope-attention` takes it in. Source: transformers `eager_attention_forward`, with
`scaling` 1.0 and no attention soft-cap.
"""

from __future__ import annotations

import numpy as np

from g4compile.ops.op import Array, Attribute, Input, Op, Output, span


def softmax(scores: Array) -> Array:
    """Softmax over the last axis, in the dtype of ``scores``."""
    shifted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    normed: Array = shifted / shifted.sum(axis=-1, keepdims=True)
    return normed


def attend(query: Array, key: Array, value: Array, allowed: Array, scale: float) -> Array:
    """Masked attention over [B, N, S, D] and [B, K, T, D]; ``allowed`` is boolean, broadcast to [B, N, S, T]. What
    stands in keys and values that no query may see does not matter, be it a NaN."""
    groups = query.shape[1] // key.shape[1]
    seen: Array = np.logical_or.reduce(np.broadcast_to(allowed, (*query.shape[:3], key.shape[2])), 2)[..., None]
    key, value = (np.where(seen, np.repeat(one, groups, axis=1), 0).astype(one.dtype) for one in (key, value))
    scores = np.float32(scale) * (query @ key.swapaxes(-1, -2)).astype(np.float32)
    out: Array = (softmax(np.where(allowed, scores, -np.inf)) @ value).astype(query.dtype)
    return out


def reference(query: Array, key: Array, value: Array, *, scale: float, window: int) -> Array:
    new, total = query.shape[2], key.shape[2]
    at = np.arange(total - new, total)[:, None]
    keys = np.arange(total)[None, :]
    allowed = keys <= at
    if window:
        allowed &= keys > at - window
    return attend(query, key, value, allowed, scale).swapaxes(1, 2)


_BODY = """
CausalAttention <scale, window> (query, key, value) => (out) {
  new = Shape <start = 2, end = 3> (query)
  total = Shape <start = 2, end = 3> (key)
  past = Sub (total, new)
  zero = Constant <value_int = 0> ()
  one = Constant <value_int = 1> ()
  empty = Constant <value_ints = [0]> ()
  columns = Constant <value_ints = [1]> ()
  new_scalar = Squeeze (new, empty)
  total_scalar = Squeeze (total, empty)
  keys = Range (zero, total_scalar, one)
  steps = Range (zero, new_scalar, one)
  at_row = Add (steps, past)
  at = Unsqueeze (at_row, columns)
  causal = LessOrEqual (keys, at)
  window_value = Constant <value_int: int = @window> ()
  unlimited = Equal (window_value, zero)
  reach = Where (unlimited, total_scalar, window_value)
  oldest = Sub (at, reach)
  near = Greater (keys, oldest)
  allowed = And (causal, near)
  heads_first = Attention <scale: float = @scale> (query, key, value, allowed)
  out = Transpose <perm = [0, 2, 1, 3]> (heads_first)
}
"""


class CausalAttention(Op):
    query = Input("[B, N, S, D]")
    key = Input("[B, K, T, D]")
    value = Input("[B, K, T, D]")
    out = Output("[B, S, N, D]")
    scale = Attribute(float)
    window = Attribute(int)
    stages = span("traced", "canonical")
    reference = staticmethod(reference)
    bodies = {"": _BODY}
