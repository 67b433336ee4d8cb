"""Dequantize: weight = scale * (code - zero_point), codes unpacked from bytes, first weight in the lowest bits.

Shapes: codes uint8 [..., N, blocks, width * bits / 8], scales [..., N, blocks], zero_points uint8 [..., N, bytes]
packed like codes -> weight [..., N, columns]. Without ``zero_points`` zero is the middle code. Columns behind
``columns`` pad the last block and are cut off. ``activation_bits`` says how a product with this weight may read its
other operand: 0 exactly, 8 rounded to 8 bits; it does not change what this op computes.
Source: ONNX Runtime's MatMulNBits and GatherBlockQuantized (`ContribOperators.md`), whose layout this is.
"""

from __future__ import annotations

import numpy as np

from g4compile.ops.op import Array, Attribute, Input, Op, OptionalInput, Output, span


def _unpack(packed: Array, bits: int) -> Array:
    places = np.arange(0, 8, bits)
    values: Array = (packed[..., None] >> places) % (1 << bits)
    return values.reshape(*packed.shape[:-1], -1)


def reference(
    codes: Array, scales: Array, zero_points: Array | None = None, *, bits: int, columns: int, activation_bits: int
) -> Array:
    levels = _unpack(codes, bits).astype(np.float32)
    zeros: Array | float = float(1 << (bits - 1))
    if zero_points is not None:
        zeros = _unpack(zero_points, bits)[..., : scales.shape[-1], None].astype(np.float32)
    weights = (levels - zeros) * scales[..., None]
    flat: Array = weights.reshape(*scales.shape[:-1], -1)[..., :columns].astype(np.float32)
    return flat


_UNPACK = """
  zero = Constant <value_int = 0> ()
  byte = Constant <value_int = 8> ()
  base = Constant <value_int = 2> ()
  last = Constant <value_ints = [-1]> ()
  bits = Constant <value_int: int = @bits> ()
  places = Range (zero, byte, bits)
  wide_divisors = Pow (base, places)
  wide_levels = Pow (base, bits)
  divisors = Cast <to = 6> (wide_divisors)
  levels = Cast <to = 6> (wide_levels)
  sizes = Shape (scales)
  leading = Shape <end = -1> (scales)
  blocked = Concat <axis = 0> (sizes, last)
  flat = Concat <axis = 0> (leading, last)
  bytes = Cast <to = 6> (codes)
  byte_column = Unsqueeze (bytes, last)
  shifted = Div (byte_column, divisors)
  spread = Mod (shifted, levels)
  codes_int = Reshape (spread, blocked)
"""
_SCALE = """
  levels_float = Cast <to = 1> (centred)
  scale_column = Unsqueeze (scales, last)
  scaled = Mul (levels_float, scale_column)
  rows = Reshape (scaled, flat)
  start = Constant <value_ints = [0]> ()
  columns_int = Constant <value_int: int = @columns> ()
  start_axis = Constant <value_ints = [0]> ()
  end = Unsqueeze (columns_int, start_axis)
  weight = Slice (rows, start, end, last)
}
"""
_MIDDLE = """
  two = Constant <value_int = 2> ()
  half_wide = Div (wide_levels, two)
  middle = Cast <to = 6> (half_wide)
  centred = Sub (codes_int, middle)
"""
_ZEROS = """
  zero_bytes = Cast <to = 6> (zero_points)
  zero_column = Unsqueeze (zero_bytes, last)
  zero_shifted = Div (zero_column, divisors)
  zero_spread = Mod (zero_shifted, levels)
  zero_flat = Reshape (zero_spread, flat)
  blocks = Shape <start = -1> (scales)
  first = Constant <value_ints = [0]> ()
  zero_codes = Slice (zero_flat, first, blocks, last)
  zero_blocks = Unsqueeze (zero_codes, last)
  centred = Sub (codes_int, zero_blocks)
"""
_HEAD = "Dequantize <bits, columns, activation_bits> (codes, scales{}) => (weight) {{"


class Dequantize(Op):
    codes = Input("[..., N, blocks, bytes]", "U")
    scales = Input("[..., N, blocks]")
    zero_points = OptionalInput("[..., N, packed]", "U")
    weight = Output("[..., N, columns]")
    bits = Attribute(int)
    columns = Attribute(int, size="columns")
    activation_bits = Attribute(int)
    stages = span("quantized", "quantized")
    reference = staticmethod(reference)
    bodies = {
        "": _HEAD.format(", zero_points") + _UNPACK + _ZEROS + _SCALE,
        "no_zero_points": _HEAD.format("") + _UNPACK + _MIDDLE + _SCALE,
    }
