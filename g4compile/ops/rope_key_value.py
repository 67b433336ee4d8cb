"""RopeKeyValue: the new keys and values of a layer, from its projections.

    key   = rope(rms_norm(key_in, key_norm), cos, sin)
    value = rms_norm(value_in)                          (scale-free)

Shapes: key_in, value_in [B, S, K*D], key_norm [D], cos, sin [B, S, R/2] -> key, value [B, K, S, D]; the first R of D
dimensions are rotated (R = D, but for `lower-proportional-rope`), pairs R/2 apart; ``rotary`` is R. Where a
layer has no value projection (12B, 26B, 31B global layers) both operands are the one key projection: the value
is the *un-normed, un-rotated* projection. Source: transformers `Gemma4TextAttention.forward`.
"""

from __future__ import annotations

import numpy as np

from g4compile.ops import rms_norm
from g4compile.ops.op import Array, Attribute, Input, Op, Output, span


def split_heads(x: Array, heads: int) -> Array:
    """[B, S, N*D] -> [B, N, S, D]."""
    batch, new, width = x.shape
    return x.reshape(batch, new, heads, width // heads).swapaxes(1, 2)


def rope(x: Array, cos: Array, sin: Array) -> Array:
    """Rotate pairs (i, i + R/2) of the first R of [B, N, S, D] by angles whose cos and sin are [B, S, R/2]."""
    half = cos.shape[-1]
    low, high, rest = np.split(x, [half, 2 * half], axis=-1)
    cos, sin = cos[:, None], sin[:, None]
    return np.concatenate([low * cos - high * sin, high * cos + low * sin, rest], axis=-1)


def reference(
    key_in: Array,
    value_in: Array,
    key_norm: Array,
    cos: Array,
    sin: Array,
    *,
    kv_heads: int,
    epsilon: float,
    rotary: int,
) -> tuple[Array, Array]:
    key = rms_norm.reference(split_heads(key_in, kv_heads), key_norm, epsilon=epsilon)
    value = rms_norm.reference(split_heads(value_in, kv_heads), epsilon=epsilon)
    return rope(key, cos, sin), value


_BODY = """
RopeKeyValue <kv_heads, epsilon, rotary> (key_in, value_in, key_norm, cos, sin) => (key, value) {
  heads_scalar = Constant <value_int: int = @kv_heads> ()
  first = Constant <value_ints = [0]> ()
  last = Constant <value_ints = [-1]> ()
  heads = Unsqueeze (heads_scalar, first)
  split = Concat <axis = 0> (first, first, heads, last)
  key_split = Reshape (key_in, split)
  value_split = Reshape (value_in, split)
  key_heads = Transpose <perm = [0, 2, 1, 3]> (key_split)
  value_heads = Transpose <perm = [0, 2, 1, 3]> (value_split)
  key_normed = RMSNormalization <axis = -1, epsilon: float = @epsilon> (key_heads, key_norm)
  key = RotaryEmbedding <rotary_embedding_dim: int = @rotary> (key_normed, cos, sin)
  square = Mul (value_heads, value_heads)
  mean = ReduceMean <keepdims = 1> (square, last)
  offset = Constant <value_float: float = @epsilon> ()
  offset_like = CastLike (offset, mean)
  shifted = Add (mean, offset_like)
  root = Sqrt (shifted)
  value = Div (value_heads, root)
}
"""


class RopeKeyValue(Op):
    key_in = Input("[B, S, K*D]")
    value_in = Input("[B, S, K*D]")
    key_norm = Input("[D]")
    cos = Input("[B, S, R/2]")
    sin = Input("[B, S, R/2]")
    key = Output("[B, K, S, D]")
    value = Output("[B, K, S, D]")
    kv_heads = Attribute(int, size="K")
    epsilon = Attribute(float)
    rotary = Attribute(int, size="R")
    stages = span("fused", "quantized")
    reference = staticmethod(reference)
    bodies = {"": _BODY}
