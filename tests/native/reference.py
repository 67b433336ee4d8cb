"""What the kernels must give, in NumPy: every rounding of `native/LAYOUT.md`, in its order."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

PANEL, SMALLEST = 32, np.float32(2.0**-100)
WIDE = np.longdouble  # holds product and sum of a fused step exactly enough to round once


def padded(count):
    return -(-count // PANEL) * PANEL


def bfloat16(values):
    """float32 -> the bits of the nearest bfloat16, uint16."""
    words = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((words + 0x7FFF + ((words >> 16) & 1)) >> 16).astype(np.uint16)


def from_bfloat16(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


@dataclass
class Matrix:
    """Codes [N, K], float32 scales [N, blocks] (bfloat16 values where block is not 0), zero points alike or None."""

    bits: int
    block: int
    codes: np.ndarray
    scales: np.ndarray
    zeros: np.ndarray | None

    @property
    def shape(self):
        return self.codes.shape

    @property
    def middle(self):
        return 1 << (self.bits - 1)

    def spread(self, values):
        """[N, blocks] -> [N, K]."""
        columns = self.codes.shape[1]
        return np.repeat(values, self.block or padded(columns), axis=1)[:, :columns]

    def levels(self):
        """code - zero, int64 [N, K]."""
        zeros = self.middle if self.zeros is None else self.spread(self.zeros).astype(np.int64)
        return self.codes.astype(np.int64) - zeros

    def dequantized(self):
        return self.levels().astype(np.float32) * self.spread(self.scales)

    # What is stored.
    def panels(self):
        """uint8 [panels, bytes], after the text of the layout and not after the library."""
        rows, columns = self.shape
        codes = np.full((padded(rows), padded(columns)), self.middle, np.uint8)
        codes[:rows, :columns] = self.codes
        by_quad = codes.reshape(padded(rows) // PANEL, PANEL, -1, 4).transpose(0, 2, 1, 3)  # panel, quad, channel, k
        low, high = by_quad[:, :, :16], by_quad[:, :, 16:]
        if self.bits == 4:
            by_quad = low | high << 4
        elif self.bits == 2:
            by_quad = low[:, 0::2] | high[:, 0::2] << 2 | low[:, 1::2] << 4 | high[:, 1::2] << 6
        return np.ascontiguousarray(by_quad).reshape(len(codes) // PANEL, -1)

    def by_panel(self, values, fill):
        """[N, blocks] -> [panels, blocks, 32]."""
        rows, blocks = values.shape
        full = np.full((padded(rows), blocks), fill, values.dtype)
        full[:rows] = values
        return np.ascontiguousarray(full.reshape(-1, PANEL, blocks).transpose(0, 2, 1))

    def stored_scales(self):
        by_panel = self.by_panel(self.scales, 0)
        return bfloat16(by_panel) if self.block else by_panel.reshape(-1)

    def stored_zeros(self):
        return None if self.zeros is None else self.by_panel(self.zeros, self.middle)


def blocks_of(bits, block, columns):
    return -(-padded(columns) // block) if block else 1


def random_matrix(random, rows, columns, bits, block, asymmetric=False, extreme=False):
    shape = (rows, blocks_of(bits, block, columns))
    codes = random.integers(0, 1 << bits, (rows, columns), np.uint8)
    if extreme:
        codes = np.where(random.random((rows, 1)) < 0.5, 0, (1 << bits) - 1).astype(np.uint8) + 0 * codes
    scales = (
        (random.random(shape, np.float32) + np.float32(0.1)) * random.choice([-1, 1], shape).astype(np.float32) / 50
    )
    if block:
        scales = from_bfloat16(bfloat16(scales))
    zeros = random.integers(0, 1 << bits, shape, np.uint8) if asymmetric else None
    return Matrix(bits, block, codes, scales, zeros)


@dataclass
class Quantized:
    """q int64 [M, K padded] in -127..127 and scales float32 [M, blocks], block 0 (the row) or 128."""

    q: np.ndarray
    scales: np.ndarray
    block: int


def quantize(x, block=0):
    rows, columns = x.shape
    length = block or padded(columns)
    q, scales = np.zeros((rows, padded(columns)), np.int64), []
    for start in range(0, columns, length):
        part = x[:, start : min(start + length, columns)]
        finite = np.isfinite(part).all(axis=1)
        most = np.where(finite, np.abs(part).max(axis=1), np.float32(0))
        used = most >= SMALLEST
        safe = np.where(used, most, np.float32(1)).astype(np.float32)
        inverse = np.where(used, np.float32(127) / safe, np.float32(0)).astype(np.float32)
        clean = np.where(finite[:, None], part, np.float32(0)).astype(np.float32)
        q[:, start : start + part.shape[1]] = np.rint(clean * inverse[:, None])
        scale = np.where(used, safe / np.float32(127), np.float32(0)).astype(np.float32)
        scales.append(np.where(finite, scale, np.float32(np.nan)))
    return Quantized(q, np.stack(scales, axis=1), block)


def packed(activations):
    """The bytes of packed activations."""
    q, scales = activations.q, activations.scales
    rows, depth = q.shape
    tiles = -(-rows // 12)
    bounds = [rows * tile // tiles for tile in range(tiles + 1)]

    def tiled(values):
        """[M, n] -> by tile [n, rows of the tile]."""
        return b"".join(np.ascontiguousarray(values[a:b].T).tobytes() for a, b in pairwise(bounds))

    parts = [
        np.ascontiguousarray(q[a:b].reshape(b - a, -1, 4).transpose(1, 0, 2)).astype(np.int8).tobytes()
        for a, b in pairwise(bounds)
    ]
    for length in (32, 64, 128, depth):
        starts = range(0, depth, length)
        sums = np.stack([q[:, start : start + length].sum(axis=1) for start in starts], axis=1)
        parts.append(tiled(sums.astype(np.int32)))
    parts.append(tiled(scales))
    return b"".join(parts)


def fused(a, b, c):
    """float32 a * b + c, rounded once."""
    return (a.astype(WIDE) * b.astype(WIDE) + c.astype(WIDE)).astype(np.float32)


def product(activations, matrix):
    """float32 [M, N], to the bit."""
    q, levels, block = activations.q, matrix.levels(), matrix.block or activations.block
    depth, columns = q.shape[1], matrix.shape[1]
    padded_levels = np.zeros((matrix.shape[0], depth), np.int64)
    padded_levels[:, :columns] = levels
    if not block:
        exact = (q @ padded_levels.T).astype(np.float32)
        return (exact * matrix.scales[:, 0]) * activations.scales
    total = np.zeros((len(q), matrix.shape[0]), np.float32)
    for index, start in enumerate(range(0, depth, block)):
        part = slice(start, start + block)
        exact = (q[:, part] @ padded_levels[:, part].T).astype(np.float32)
        if activations.block:
            exact = exact * activations.scales[:, [start // 128]]
        scale = matrix.scales[:, index] if matrix.block else np.ones(1, np.float32)
        total = fused(exact, scale[None, :], total)
    if not activations.block:
        return total * activations.scales
    return total if matrix.block else total * matrix.scales[:, 0]


def product_float64(x, matrix):
    """float64 [M, N], and the sum of the absolute terms, which rounding errors are measured against."""
    weights = matrix.levels().astype(np.float64) * matrix.spread(matrix.scales).astype(np.float64)
    wide = x.astype(np.float64)
    return wide @ weights.T, np.abs(wide) @ np.abs(weights.T)
