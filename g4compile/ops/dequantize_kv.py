"""DequantizeKV: keys (or values) from 8-bit codes: x = code * scale. The way back from `QuantizeKV`.

Shapes: codes int8 [B, K, S, D], scales float32 [B, K, S, 1] -> x float32 [B, K, S, D].
"""

from __future__ import annotations

import numpy as np

from g4compile.ops.op import Array, Input, Op, Output, span


def reference(codes: Array, scales: Array) -> Array:
    values: Array = codes.astype(np.float32) * scales
    return values


_BODY = """
DequantizeKV (codes, scales) => (x) {
  whole = Cast <to = 1> (codes)
  x = Mul (whole, scales)
}
"""


class DequantizeKV(Op):
    codes = Input("[B, K, S, D]", "Q")
    scales = Input("[B, K, S, 1]", "M")
    x = Output("[B, K, S, D]", "M")
    stages = span("quantized", "quantized")
    reference = staticmethod(reference)
    bodies = {"": _BODY}
