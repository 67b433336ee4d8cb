"""Sizes of tiles by the number of tokens: few tokens are bound by the weights that are read, many by arithmetic.

Each answer is a ladder: the tiling that `benchmarks/gpu/kernels.py --sweep` chose on an H100, then others that need
less shared memory (`benchmarks/gpu/README.md` says what they cost); the last takes at most 48 kB on every architecture.
What a tiling needs is known once it is compiled (`aot.py`), and differs between architectures.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tiling:
    """Rows and columns of a tile, and how a program is run: warps, loads in flight, steps of its loop that are made
    one, and how many columns of a bfloat16 weight a step takes (of codes: what shares a scale)."""

    rows: int
    columns: int
    warps: int
    stages: int
    unroll: int = 1
    depth: int = 0


# Columns of a block that shares a scale, for 26B-A4B; steps of the best tilings of bfloat16 weights have as many.
BLOCK_GATE_UP, BLOCK_DOWN = 128, 64


def gate_up(tile: int, quantized: bool) -> tuple[Tiling, ...]:
    """By `tile_of` the tokens."""
    if quantized:
        return {
            16: (Tiling(16, 32, 2, 3, unroll=2),),
            64: (Tiling(64, 64, 4, 4), Tiling(64, 64, 4, 2)),
            128: (Tiling(128, 64, 4, 3), Tiling(128, 64, 4, 2), Tiling(128, 64, 8, 1)),
        }[tile]
    return {
        16: (Tiling(16, 64, 4, 3, depth=128), Tiling(16, 32, 4, 3, depth=128)),
        64: (
            Tiling(64, 64, 4, 4, depth=128),
            Tiling(64, 64, 4, 3, depth=64),
            Tiling(64, 64, 4, 2, depth=64),
            Tiling(64, 64, 4, 3, depth=32),  # sm100, which keeps barriers in shared memory
        ),
        128: (
            Tiling(128, 64, 4, 3, depth=128),
            Tiling(128, 64, 4, 2, depth=64),
            Tiling(128, 64, 4, 3, depth=32),
            Tiling(128, 64, 4, 2, depth=32),
        ),
    }[tile]


def down(tile: int, quantized: bool) -> tuple[Tiling, ...]:
    """By `tile_of` the tokens."""
    if quantized:
        return {
            16: (Tiling(16, 32, 2, 3),),
            64: (Tiling(64, 128, 4, 3),),
            128: (Tiling(128, 64, 4, 4), Tiling(128, 64, 4, 2)),
        }[tile]
    return {
        16: (Tiling(16, 64, 4, 3, depth=64),),
        64: (Tiling(64, 64, 4, 4, depth=64), Tiling(64, 64, 4, 3, depth=64), Tiling(64, 64, 4, 2, depth=64)),
        128: (
            Tiling(128, 128, 8, 3, depth=64),
            Tiling(128, 64, 4, 2, depth=64),
            Tiling(128, 64, 4, 3, depth=32),
        ),
    }[tile]


def flash(width: int) -> tuple[Tiling, ...]:
    """Rows are queries times heads of a group, columns are keys."""
    if width > 256:
        return Tiling(64, 32, 8, 2), Tiling(64, 16, 8, 1), Tiling(16, 16, 4, 1)
    return Tiling(128, 64, 8, 2), Tiling(64, 32, 4, 2), Tiling(32, 32, 4, 1)
