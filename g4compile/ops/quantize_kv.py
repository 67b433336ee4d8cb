"""QuantizeKV and DequantizeKV: keys (or values) as 8-bit codes with one scale a token and head.

    scale = max(|x|) / 127 over D;   code = round(x / scale), halves to even;   x' = code * scale

Shapes: x [B, K, S, D] -> codes int8 [B, K, S, D], scales float32 [B, K, S, 1], and back. A vector of zeros has scale 0
and codes 0. A token is rounded once, when it is written, so what a step computes does not depend on how a prompt was cut
into chunks. The same rounding in PyTorch: `compare/reference.py`.
"""

from __future__ import annotations

import numpy as np

from g4compile.ops.registry import Array, Op, Operand


def quantize(x: Array) -> tuple[Array, Array]:
    scales = np.abs(x).max(-1, keepdims=True) / x.dtype.type(127)
    safe = np.where(scales == 0, x.dtype.type(1), scales)
    return np.rint(x / safe).astype(np.int8), scales.astype(np.float32)


def dequantize(codes: Array, scales: Array) -> Array:
    values: Array = codes.astype(np.float32) * scales
    return values


_QUANTIZE = """
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
_DEQUANTIZE = """
DequantizeKV (codes, scales) => (x) {
  whole = Cast <to = 1> (codes)
  x = Mul (whole, scales)
}
"""

QUANTIZE_KV = Op(
    name="QuantizeKV",
    doc=__doc__ or "",
    inputs=(Operand("x", "[B, K, S, D]", "M"),),
    outputs=(Operand("codes", "[B, K, S, D]", "Q"), Operand("scales", "[B, K, S, 1]", "M")),
    reference=quantize,
    infer=lambda shapes, attributes: [shapes[0], (*shapes[0][:-1], 1)],
    bodies={"": _QUANTIZE},
).register()
DEQUANTIZE_KV = Op(
    name="DequantizeKV",
    doc=__doc__ or "",
    inputs=(Operand("codes", "[B, K, S, D]", "Q"), Operand("scales", "[B, K, S, 1]", "M")),
    outputs=(Operand("x", "[B, K, S, D]", "M"),),
    reference=dequantize,
    infer=lambda shapes, attributes: [shapes[0]],
    bodies={"": _DEQUANTIZE},
).register()
