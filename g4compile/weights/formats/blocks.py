"""Low-bit weight formats: how codes are packed, and what they mean.

A matrix [N, K] is cut along K into blocks that share a scale; the last block of a row may be partly unused:

    codes       uint8 [N, blocks, block * bits / 8]    first weight in the lowest bits
    scales      float32 [N, blocks]                    rounded to bfloat16 where the format says so
    zero_points uint8 [N, ceil(blocks * bits / 8)]     packed alike; absent when symmetric
    weight      scale * (code - zero_point), zero_point = 2^(bits-1) when absent

This is the layout of ONNX Runtime's MatMulNBits and GatherBlockQuantized (onnxruntime, `ContribOperators.md`),
so one stored table serves a lookup and a product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from g4compile.errors import InputError

Array = np.ndarray[Any, Any]
BITS = (2, 4, 8)
BLOCKS = (32, 64, 128)
WHOLE_ROW = 0  # one scale per row ("per channel")
FLOAT32, BFLOAT16 = "float32", "bfloat16"


@dataclass(frozen=True)
class Codes:
    """A quantised matrix of ``columns`` weights a row, packed."""

    codes: Array
    scales: Array
    zero_points: Array | None


@dataclass(frozen=True)
class BlockFormat:
    """``bits`` a weight, ``block`` weights a scale (0: the whole row), with or without zero points. ``scales``: the
    dtype to which a scale is rounded, before codes are chosen for it."""

    bits: int
    block: int
    symmetric: bool = True
    scales: str = FLOAT32

    def __post_init__(self) -> None:
        if self.bits not in BITS:
            raise InputError(f"there are no {self.bits}-bit weights", fix=f"bits: {', '.join(map(str, BITS))}")
        if self.block not in (*(1 << power for power in range(4, 13)), WHOLE_ROW):  # what kernels take
            raise InputError(f"there are no blocks of {self.block} weights", fix="blocks: 16, 32, 64, ... 4096, or row")

    def __str__(self) -> str:
        shape = "row" if self.block == WHOLE_ROW else f"block {self.block}"
        return f"int{self.bits} {shape} {'symmetric' if self.symmetric else 'asymmetric'}"

    @property
    def levels(self) -> int:
        return int(1 << self.bits)

    @property
    def middle(self) -> int:
        """The code of zero where there are no zero points."""
        return self.levels // 2

    def width(self, columns: int) -> int:
        """Weights in a stored block. A whole row is stored as the longest blocks that kernels take and that fit it
        without a rest, all with the row's scale: one padded block would add a third to rows of 1536."""
        if self.block:
            return self.block
        longest = columns & -columns
        return min(max(longest, 32), 128 if self.bits == 2 else 4096)

    def blocks(self, columns: int) -> int:
        return -(-columns // self.width(columns))

    def codes_shape(self, rows: int, columns: int) -> tuple[int, int, int]:
        return rows, self.blocks(columns), self.width(columns) * self.bits // 8

    def scales_shape(self, rows: int, columns: int) -> tuple[int, int]:
        return rows, self.blocks(columns)

    def zero_points_shape(self, rows: int, columns: int) -> tuple[int, int]:
        return rows, -(-self.blocks(columns) * self.bits // 8)

    def rounded(self, scales: Array) -> Array:
        """float32 ``scales`` to the nearest that are stored, as float32."""
        if self.scales == FLOAT32:
            return scales
        narrow: Array = scales.astype(ml_dtypes.bfloat16).astype(np.float32)
        return narrow

    def pack(self, codes: Array, scales: Array, zero_points: Array | None) -> Codes:
        """Codes [N, blocks, width] and zero points [N, blocks], one a byte, packed."""
        packed_zeros = None
        if zero_points is not None:
            per_byte = 8 // self.bits
            padding = (-zero_points.shape[1]) % per_byte
            packed_zeros = pack_bits(np.pad(zero_points, ((0, 0), (0, padding))), self.bits)
        return Codes(pack_bits(codes, self.bits), scales, packed_zeros)

    def dequantize(self, packed: Codes, columns: int) -> Array:
        """float32 [N, columns]."""
        codes = unpack_bits(packed.codes, self.bits)
        rows, blocks, _ = codes.shape
        zeros: Array | int = self.middle
        if packed.zero_points is not None:
            zeros = unpack_bits(packed.zero_points, self.bits)[:, :blocks, None].astype(np.float32)
        weights = (codes.astype(np.float32) - zeros) * packed.scales[..., None]
        return np.ascontiguousarray(weights.reshape(rows, -1)[:, :columns], dtype=np.float32)


def pack_bits(values: Array, bits: int) -> Array:
    """uint8 [..., n] of values below 2^bits -> uint8 [..., n * bits / 8], the first value in the lowest bits."""
    if bits == 8:
        return values
    per_byte = 8 // bits
    packed: Array = values[..., 0::per_byte].copy()
    for place in range(1, per_byte):
        packed |= values[..., place::per_byte] << np.uint8(place * bits)
    return packed


def unpack_bits(packed: Array, bits: int) -> Array:
    """The inverse of `pack_bits`: uint8 [..., m] -> uint8 [..., m * 8 / bits]."""
    if bits == 8:
        return packed
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    values: Array = (packed[..., None] >> shifts) & np.uint8((1 << bits) - 1)
    return values.reshape(*packed.shape[:-1], -1)
