"""RMSNorm: y = x * (mean(x^2) + epsilon)^(-1/2) * scale, in float32, cast back after the scale.

Shapes: x [..., D], scale [D] -> y [..., D]. Without ``scale`` it is the scale-free norm of values, routers and
projectors. Source: transformers `modeling_gemma4.py`, `Gemma4RMSNorm` (plain weight, no +1).
"""

from __future__ import annotations

import numpy as np

from g4compile.ops.op import Array, Attribute, Input, Op, OptionalInput, Output, Precision, span


def reference(x: Array, scale: Array | None = None, *, epsilon: float) -> Array:
    wide = x.astype(np.float32)
    normed = wide / np.sqrt(np.mean(wide * wide, axis=-1, keepdims=True) + np.float32(epsilon))
    if scale is not None:
        normed = normed * scale.astype(np.float32)
    back: Array = normed.astype(x.dtype)
    return back


_SCALED = """
RMSNorm <epsilon> (x, scale) => (y) {
  wide = Cast <to = 1> (x)
  wide_scale = Cast <to = 1> (scale)
  normed = RMSNormalization <axis = -1, epsilon: float = @epsilon> (wide, wide_scale)
  y = CastLike (normed, x)
}
"""

_UNSCALED = """
RMSNorm <epsilon> (x) => (y) {
  wide = Cast <to = 1> (x)
  square = Mul (wide, wide)
  last = Constant <value_ints = [-1]> ()
  mean = ReduceMean <keepdims = 1> (square, last)
  offset = Constant <value_float: float = @epsilon> ()
  shifted = Add (mean, offset)
  root = Sqrt (shifted)
  normed = Div (wide, root)
  y = CastLike (normed, x)
}
"""


class RMSNorm(Op):
    x = Input("[..., D]")
    scale = OptionalInput("[D]")
    y = Output("[..., D]")
    epsilon = Attribute(float)
    stages = span("canonical", "quantized")
    precision = Precision.INSIDE_WIDE
    reference = staticmethod(reference)
    bodies = {"": _SCALED, "no_scale": _UNSCALED}
