"""4-bit weights as TensorRT dequantises them where it reads them.

    codes   int4 [.., N, K], signed, -8 to 7; two to a byte, the first in the low bits
    scales  bfloat16 [.., N, K / block]
    weight = code * scale

Source: NVIDIA, `IDequantizeLayer`, whose block follows from the two shapes.
"""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np

from g4compile.weights.formats.blocks import Array, Codes, unpack_bits
from g4compile.weights.quantized import QuantizedMatrix

INT4 = "int4"
BLOCKS = (128, 64, 32)  # the longest that divides a row: 704 columns of 26B-A4B's down_proj take 64
_SIGN = np.uint8(0x88)  # of both codes of a byte: code + 8 to two's complement and back


def block_of(columns: int) -> int | None:
    """How many weights of a row of ``columns`` share a scale; None when no block divides it."""
    return next((block for block in BLOCKS if columns % block == 0), None)


@dataclass(frozen=True, eq=False)
class Int4Matrix(QuantizedMatrix):
    """``weight`` [..., K] in symmetric blocks that divide K."""

    def shape(self, part: str) -> tuple[int, ...]:
        return (*self.leading, self.columns if part == "codes" else self.columns // self.format.block)

    def quantize(self, start: int, stop: int) -> Codes:
        made = super().quantize(start, stop)
        codes = made.codes.reshape(stop - start, -1) ^ _SIGN
        return Codes(codes, made.scales.astype(ml_dtypes.bfloat16), None)

    def codes(self) -> Array:
        """int4 [.., N, K]."""
        packed = self.quantize(0, self.rows).codes
        levels = unpack_bits(packed ^ _SIGN, 4).astype(np.int8) - np.int8(8)
        return levels.reshape(self.shape("codes")).astype(ml_dtypes.int4)

    def dequantized(self) -> Array:
        made = self.quantize(0, self.rows)
        return dequantize(made.codes, made.scales, self.columns).reshape(*self.leading, self.columns)


def dequantize(codes: Array, scales: Array, columns: int) -> Array:
    """float32 [N, columns] of packed 4-bit codes [N, columns / 2] and scales [N, blocks]."""
    levels = unpack_bits(codes ^ _SIGN, 4).astype(np.float32) - 8
    weights: Array = levels * np.repeat(scales.astype(np.float32), columns // scales.shape[-1], -1)
    return weights
