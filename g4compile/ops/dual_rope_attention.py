"""DualRopeAttention: a layer's attention from its query projection to the input of `o_proj`.

    q   = rope(rms_norm(query, query_norm), cos, sin)
    out = softmax(scale * q k^T + mask) v

Shapes: query [B, S, N*D], query_norm [D], cos, sin [B, S, R/2], key, value [B, K, T, D], mask [B, 1, S, T] ->
out [B, S, N*D]. One op for both kinds of layer: local RoPE (all D rotated) and global p-RoPE (zero angles past
the first quarter) differ in the angles alone, or, behind `lower-proportional-rope`, in ``rotary``: how many of the D
dimensions of a head are rotated. Without a mask the queries are the last S of the T keys, and
`window` limits how far back they see (0: no limit), as in `CausalAttention`. With a mask (`insert-windowed-masks`),
S need not be the number of new tokens and `window` says only what the mask was built for.
Source: transformers `Gemma4TextAttention.forward`.
"""

from __future__ import annotations

from typing import Any

from g4compile.ops import causal_attention, rms_norm
from g4compile.ops.op import Array, Attribute, Input, Op, OptionalInput, Output, span
from g4compile.ops.rope_key_value import rope, split_heads


def reference(
    query: Array,
    query_norm: Array,
    cos: Array,
    sin: Array,
    key: Array,
    value: Array,
    mask: Array | None = None,
    **attributes: Any,
) -> Array:
    by_head = split_heads(query, attributes["heads"])
    rotated = rope(rms_norm.reference(by_head, query_norm, epsilon=attributes["epsilon"]), cos, sin)
    scale = attributes["scale"]
    if mask is None:
        out = causal_attention.reference(rotated, key, value, scale=scale, window=attributes["window"])
    else:
        out = causal_attention.attend(rotated, key, value, mask == 0, scale).swapaxes(1, 2)
    return out.reshape(query.shape)


_ROTATE = """
  heads_scalar = Constant <value_int: int = @heads> ()
  first = Constant <value_ints = [0]> ()
  last = Constant <value_ints = [-1]> ()
  heads_dim = Unsqueeze (heads_scalar, first)
  split = Concat <axis = 0> (first, first, heads_dim, last)
  query_split = Reshape (query, split)
  query_heads = Transpose <perm = [0, 2, 1, 3]> (query_split)
  query_normed = RMSNormalization <axis = -1, epsilon: float = @epsilon> (query_heads, query_norm)
  rotated = RotaryEmbedding <rotary_embedding_dim: int = @rotary> (query_normed, cos, sin)
"""

_MERGE = """
  merged = Concat <axis = 0> (first, first, last)
  out = Reshape (attended, merged)
"""

_UNMASKED = f"""
DualRopeAttention <heads, epsilon, scale, window, rotary> (query, query_norm, cos, sin, key, value) => (out) {{
{_ROTATE}
  attended = g4.CausalAttention <scale: float = @scale, window: int = @window> (rotated, key, value)
{_MERGE}
}}
"""

_MASKED = f"""
DualRopeAttention <heads, epsilon, scale, window, rotary> (query, query_norm, cos, sin, key, value, mask) => (out) {{
{_ROTATE}
  additive = CastLike (mask, query)
  heads_first = Attention <scale: float = @scale> (rotated, key, value, additive)
  attended = Transpose <perm = [0, 2, 1, 3]> (heads_first)
{_MERGE}
}}
"""


class DualRopeAttention(Op):
    query = Input("[B, S, N*D]")
    query_norm = Input("[D]")
    cos = Input("[B, S, R/2]")
    sin = Input("[B, S, R/2]")
    key = Input("[B, K, T, D]")
    value = Input("[B, K, T, D]")
    mask = OptionalInput("[B, 1, S, T]", "M")
    out = Output("[B, S, N*D]")
    heads = Attribute(int, size="N")
    epsilon = Attribute(float)
    scale = Attribute(float)
    window = Attribute(int)
    rotary = Attribute(int, size="R")
    stages = span("fused", "quantized")
    reference = staticmethod(reference)
    bodies = {"": _MASKED, "no_mask": _UNMASKED}
