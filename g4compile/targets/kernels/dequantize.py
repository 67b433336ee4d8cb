"""Codes of a matrix as bfloat16: for products of so many rows that making the numbers once costs less than doing it in
every tile.

    out[BASE + row] = (code - middle) * scale       codes of 4 or 8 bits in blocks (`weights/formats/blocks.py`)
"""

from __future__ import annotations

import triton
import triton.language as tl

from g4compile.targets.kernels.dependent import begin, wait


@triton.jit
def dequantize(  # noqa: PLR0913 - a Triton kernel
    codes, scales, out, ROWS, K, BASE,
    BITS: tl.constexpr, BLOCK: tl.constexpr, PIECE: tl.constexpr, DEPENDENT: tl.constexpr,
):  # fmt: skip
    """Grid: (ROWS, ceil(K / PIECE)). Both codes of a byte are made by the thread that reads it."""
    begin(DEPENDENT)
    wait(DEPENDENT)
    row, piece = tl.program_id(0), tl.program_id(1)
    blocks = tl.cdiv(K, BLOCK)
    PER: tl.constexpr = 8 // BITS
    byte = piece * (PIECE // PER) + tl.arange(0, PIECE // PER)
    inside = byte * PER < K
    packed = tl.load(codes + row.to(tl.int64) * (blocks * (BLOCK // PER)) + byte, mask=inside, other=0).to(tl.int32)
    factor = tl.load(scales + row * blocks + byte * PER // BLOCK, mask=inside, other=0).to(tl.float32)
    MIDDLE: tl.constexpr = 1 << (BITS - 1)
    if BITS == 8:
        numbers = (packed - MIDDLE).to(tl.float32) * factor
    else:
        low = ((packed & 15) - MIDDLE).to(tl.float32) * factor
        high = ((packed >> 4) - MIDDLE).to(tl.float32) * factor
        numbers = tl.reshape(tl.join(low, high), (PIECE,))
    column = piece * PIECE + tl.arange(0, PIECE)
    place = (BASE + row).to(tl.int64) * K + column
    tl.store(out + place, numbers.to(out.dtype.element_ty), mask=column < K)
