"""RoundActivations: y = clamp(round(x / scale), -128, 127) * scale, halves to even. The rounding a model was trained
with.

Shapes: x [...] -> y [...]. ``scale`` is a positive step that calibration fixed ("static range quantisation").
Source: transformers `integrations/gemma_quant.py`, apply_srq with 8 bits.
"""

from __future__ import annotations

import numpy as np

from g4compile.ops.op import Array, Attribute, Input, Op, Output, span


def reference(x: Array, *, scale: float) -> Array:
    step = x.dtype.type(scale)
    rounded: Array = np.clip(np.rint(x / step), -128, 127).astype(x.dtype) * step
    return rounded


# Not QuantizeLinear and DequantizeLinear: ONNX Runtime merges two such pairs in a row, which is not the same.
_BODY = """
RoundActivations <scale> (x) => (y) {
  step_float = Constant <value_float: float = @scale> ()
  step = CastLike (step_float, x)
  steps = Div (x, step)
  whole = Round (steps)
  lowest_float = Constant <value_float = -128.0> ()
  highest_float = Constant <value_float = 127.0> ()
  lowest = CastLike (lowest_float, x)
  highest = CastLike (highest_float, x)
  code = Clip (whole, lowest, highest)
  y = Mul (code, step)
}
"""


class RoundActivations(Op):
    x = Input("[...]")
    y = Output("[...]")
    scale = Attribute(float)
    stages = span("quantized", "quantized")
    reference = staticmethod(reference)
    bodies = {"": _BODY}
