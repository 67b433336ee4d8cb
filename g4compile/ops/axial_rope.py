"""AxialRope: rotary positions in two directions: the first half of a head by the column, the second by the row.

Shapes: x [B, S, N, D], cos, sin [B, S, 2, D/4] -> y [B, S, N, D]. In half ``a`` of a head, the dimensions i and
i + D/4 are a pair, and turn by the angle whose cosine is cos[b, s, a, i]. Source: transformers `modeling_gemma4.py`,
`apply_multidimensional_rope`, with the angles of `Gemma4VisionRotaryEmbedding`.
"""

from __future__ import annotations

import numpy as np

from g4compile.ops.op import Array, Input, Op, Output, span


def reference(x: Array, cos: Array, sin: Array) -> Array:
    quarter = cos.shape[-1]
    pairs = x.reshape(*x.shape[:-1], 2, 2, quarter)  # half of the head, which of the pair, i
    low, high = pairs[..., 0, :], pairs[..., 1, :]
    cos, sin = cos[:, :, None], sin[:, :, None]
    turned = np.stack([low * cos - high * sin, high * cos + low * sin], axis=-2)
    return turned.reshape(x.shape)


_BODY = """
AxialRope (x, cos, sin) => (y) {
  column_low, column_high, row_low, row_high = Split <axis = -1, num_outputs = 4> (x)
  column_cos, row_cos = Split <axis = -2, num_outputs = 2> (cos)
  column_sin, row_sin = Split <axis = -2, num_outputs = 2> (sin)
  low_cos = Mul (column_low, column_cos)
  high_sin = Mul (column_high, column_sin)
  first = Sub (low_cos, high_sin)
  high_cos = Mul (column_high, column_cos)
  low_sin = Mul (column_low, column_sin)
  second = Add (high_cos, low_sin)
  row_low_cos = Mul (row_low, row_cos)
  row_high_sin = Mul (row_high, row_sin)
  third = Sub (row_low_cos, row_high_sin)
  row_high_cos = Mul (row_high, row_cos)
  row_low_sin = Mul (row_low, row_sin)
  fourth = Add (row_high_cos, row_low_sin)
  y = Concat <axis = -1> (first, second, third, fourth)
}
"""


class AxialRope(Op):
    x = Input("[B, S, N, D]")
    cos = Input("[B, S, 2, D/4]")
    sin = Input("[B, S, 2, D/4]")
    y = Output("[B, S, N, D]")
    stages = span("traced", "quantized")
    reference = staticmethod(reference)
    bodies = {"": _BODY}
