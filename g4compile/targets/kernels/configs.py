"""Sizes of tiles by the number of tokens: few tokens are bound by the weights that are read, many by arithmetic.

Chosen by `benchmarks/gpu/kernels.py --sweep` on an H100; other GPUs take the same.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tiling:
    """Rows and columns of a tile, and how a program is run: warps, loads in flight, and steps of its loop that are
    made one."""

    rows: int
    columns: int
    warps: int
    stages: int
    unroll: int = 1


# Columns of a block of bfloat16 weights; of codes a block is what shares a scale, and these for 26B-A4B.
BLOCK_GATE_UP, BLOCK_DOWN = 128, 64


def grouped(tile: int, quantized: bool) -> tuple[Tiling, Tiling]:
    """For gate-up and for down, by `tile_of` the tokens."""
    small = Tiling(16, 64, 4, 3)
    return {
        16: (Tiling(16, 32, 2, 3, unroll=2), Tiling(16, 32, 2, 3)) if quantized else (small, small),
        64: (Tiling(64, 64, 4, 4), Tiling(64, 128, 4, 3) if quantized else Tiling(64, 64, 4, 4)),
        128: (Tiling(128, 64, 4, 3), Tiling(128, 64, 4, 4) if quantized else Tiling(128, 128, 8, 3)),
    }[tile]


def flash(width: int) -> Tiling:
    """Rows are queries times heads of a group, columns are keys."""
    return Tiling(64, 32, 8, 2) if width > 256 else Tiling(128, 64, 8, 2)
