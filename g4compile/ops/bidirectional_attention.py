"""BidirectionalAttention: softmax(scale * q k^T) v, grouped heads, without a mask: every query sees every key.

Shapes: query [B, N, S, D], key, value [B, K, T, D] -> out [B, S, N, D]; N a multiple of K. Source: transformers
`eager_attention_forward`, as `Gemma4VisionAttention` calls it for an image without padding.
"""

from __future__ import annotations

import numpy as np

from g4compile.ops.causal_attention import attend
from g4compile.ops.op import Array, Attribute, Input, Op, Output, span


def reference(query: Array, key: Array, value: Array, *, scale: float) -> Array:
    return attend(query, key, value, np.ones((1, 1, 1, 1), bool), scale).swapaxes(1, 2)


_BODY = """
BidirectionalAttention <scale> (query, key, value) => (out) {
  heads_first = Attention <scale: float = @scale> (query, key, value)
  out = Transpose <perm = [0, 2, 1, 3]> (heads_first)
}
"""


class BidirectionalAttention(Op):
    query = Input("[B, N, S, D]")
    key = Input("[B, K, T, D]")
    value = Input("[B, K, T, D]")
    out = Output("[B, S, N, D]")
    scale = Attribute(float)
    stages = span("traced", "quantized")
    reference = staticmethod(reference)
    bodies = {"": _BODY}
