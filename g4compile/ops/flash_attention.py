"""FlashAttention: attention over a linear cache whose queries stand one behind the other, masked by position alone.

    out[b, n, s] = softmax (q k^T) v      key slot j is seen by query s when j <= first[b] + s

Shapes: q [B, N, Q, D] (scaled, rotated), k, v [B, K, T, D], first [B] int64, the position of query 0 -> out [B, N, Q,
D]. No mask is an operand, so a kernel need not read one. Source: Dao et al., FlashAttention-2 (2023).
"""

from __future__ import annotations

import numpy as np

from g4compile.ops import causal_attention
from g4compile.ops.op import Array, Input, Op, Output


def reference(q: Array, k: Array, v: Array, first: Array) -> Array:
    position = first[:, None] + np.arange(q.shape[2])
    seen = np.arange(k.shape[2])[None, None] <= position[..., None]
    return causal_attention.attend(q, k, v, seen[:, None], 1.0)


_BODY = """
FlashAttention (q, k, v, first) => (out) {
  zero = Constant <value_int = 0> ()
  one = Constant <value_int = 1> ()
  start = Constant <value_ints = [0]> ()
  last = Constant <value_ints = [-1]> ()
  new = Shape <start = 2, end = 3> (q)
  new_scalar = Squeeze (new, start)
  offsets = Range (zero, new_scalar, one)
  first_column = Unsqueeze (first, last)
  positions = Add (first_column, offsets)
  mask = g4.CausalMask (positions, k)
  additive = CastLike (mask, q)
  out = Attention <scale = 1.0> (q, k, v, additive)
}
"""


class FlashAttention(Op):
    q = Input("[B, N, Q, D]")  # not S: what a query may see depends on how many stand before it
    k = Input("[B, K, T, D]")
    v = Input("[B, K, T, D]")
    first = Input("[B]", "I")
    out = Output("[B, N, Q, D]")
    reference = staticmethod(reference)
    bodies = {"": _BODY}
