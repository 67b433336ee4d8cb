"""FlashAttention: attention over a linear cache whose queries stand one behind the other, masked by position alone.

    out[b, s, n] = softmax (q k^T) v      key slot j is seen by query s when j <= positions[b, s]

Shapes: q [B, Q, N, D] (scaled, rotated), positions [B, Q] int64, ascending by 1, k, v [B, K, T, D] -> out [B, Q, N, D].
No mask is an operand, so a kernel need not read one. Source: Dao et al., FlashAttention-2 (2023).
"""

from __future__ import annotations

import numpy as np

from g4compile.ops import causal_attention
from g4compile.ops.op import Array, Input, Op, Output


def reference(q: Array, positions: Array, k: Array, v: Array) -> Array:
    seen = np.arange(k.shape[2])[None, None] <= positions[..., None]
    out: Array = causal_attention.attend(q.swapaxes(1, 2), k, v, seen[:, None], 1.0).swapaxes(1, 2)
    return out


_BODY = """
FlashAttention (q, positions, k, v) => (out) {
  heads = Transpose <perm = [0, 2, 1, 3]> (q)
  mask = g4.CausalMask (positions, k)
  additive = CastLike (mask, q)
  attended = Attention <scale = 1.0> (heads, k, v, additive)
  out = Transpose <perm = [0, 2, 1, 3]> (attended)
}
"""


class FlashAttention(Op):
    q = Input("[B, Q, N, D]")  # not S: what a query may see depends on how many stand before it
    positions = Input("[B, Q]", "I")
    k = Input("[B, K, T, D]")
    v = Input("[B, K, T, D]")
    out = Output("[B, Q, N, D]")
    reference = staticmethod(reference)
    bodies = {"": _BODY}
