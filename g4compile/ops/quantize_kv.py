"""QuantizeKV: keys (or values) as 8-bit codes with one scale per token and head; `DequantizeKV` is the way back.

    scale = max(|x|) / 127 over D;   code = round(x / scale), halves to even

Shapes: x [B, K, S, D] -> codes int8 [B, K, S, D], scales float32 [B, K, S, 1]. A vector of zeros has scale 0 and codes
0. A token is rounded once, when it is written, so what a step computes does not depend on how a prompt was cut into
chunks. The same rounding in PyTorch: `compare/reference.py`.
"""

from __future__ import annotations

import numpy as np

from g4compile.ops.op import Array, Input, Op, Output, span


def reference(x: Array) -> tuple[Array, Array]:
    scales = np.abs(x).max(-1, keepdims=True) / x.dtype.type(127)
    safe = np.where(scales == 0, x.dtype.type(1), scales)
    return np.rint(x / safe).astype(np.int8), scales.astype(np.float32)


_BODY = """
QuantizeKV (x) => (codes, scales) {
  sizes = Abs (x)
  last = Constant <value_ints = [-1]> ()
  largest = ReduceMax <keepdims = 1> (sizes, last)
  most = Constant <value_float = 127.0> ()
  scales = Div (largest, most)
  zero = Constant <value_float = 0.0> ()
  one = Constant <value_float = 1.0> ()
  empty = Equal (scales, zero)
  safe = Where (empty, one, scales)
  steps = Div (x, safe)
  whole = Round (steps)
  codes = Cast <to = 3> (whole)
}
"""


class QuantizeKV(Op):
    x = Input("[B, K, S, D]", "M")
    codes = Output("[B, K, S, D]", "Q")
    scales = Output("[B, K, S, 1]", "M")
    stages = span("quantized", "quantized")
    reference = staticmethod(reference)
    bodies = {"": _BODY}
