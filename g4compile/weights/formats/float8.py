"""Weights as 8-bit floats with one scale per tensor, transposed: TensorRT's products read [K, N] as it is.

    codes  float8 e4m3 [.., K, N]
    scale  bfloat16 [], the least power of two for which no code is above 448
    weight = code * scale

TensorRT would first copy [N, K] into that order. A scale that is a power of two takes nothing from a float's digits:
every product of a code and the scale is exact in bfloat16, so the dtype in which a kernel multiplies does not matter.
Source: Micikevicius et al., FP8 Formats for Deep Learning (2022).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import ml_dtypes
import numpy as np

from g4compile.errors import CheckpointError
from g4compile.weights.coded import CodedMatrix
from g4compile.weights.formats.blocks import Array, Codes

FP8 = "fp8"
FLOAT8 = np.dtype(ml_dtypes.float8_e4m3fn)
LARGEST = 448.0
_LEAST_POWER = -126
_ROWS_AT_ONCE = 1 << 22  # weights that are looked at together for the largest


@dataclass(frozen=True, eq=False)
class Float8Matrix(CodedMatrix):
    """``weight`` [.., N, K], its two last axes swapped."""

    @cached_property
    def scale(self) -> float:
        """Over the whole tensor, read once for it."""
        step = max(1, _ROWS_AT_ONCE // self.columns)
        starts = range(0, self.rows, step)
        largest = max(float(np.abs(self.weight.read_rows(i, min(i + step, self.rows))).max()) for i in starts)
        if not math.isfinite(largest):
            raise CheckpointError(
                f"tensor {self.weight.key} holds numbers that are not finite", fix="--weights bfloat16"
            )
        return scale_for(largest)

    def shape(self, part: str) -> tuple[int, ...]:
        return (*self.leading[:-1], self.columns, self.leading[-1]) if part == "codes" else ()

    def measure(self) -> None:
        _ = self.scale

    def quantize(self, start: int, stop: int) -> Codes:
        """Codes float8 [stop - start, K], rows as they are stored. The scale stands with the first rows."""
        codes = (self.weight.read_rows(start, stop).astype(np.float32) / np.float32(self.scale)).astype(FLOAT8)
        return Codes(codes, np.full(1 if start == 0 else 0, self.scale, ml_dtypes.bfloat16), None)

    def strips(self, part: str, made: Codes, start: int, stop: int) -> Iterator[tuple[int, Array]]:
        """Of codes, rows become columns of the matrix that they are in."""
        if part == "scales":
            yield 0, made.scales
            return
        height = self.leading[-1]
        while start < stop:
            matrix, row = divmod(start, height)
            count = min(stop - start, height - row)
            turned = np.ascontiguousarray(made.codes[-(stop - start) :][:count].T)
            for column, strip in enumerate(turned):
                yield (matrix * self.columns + column) * height + row, strip
            start += count

    def codes(self) -> Array:
        made = self.quantize(0, self.rows).codes.reshape(*self.leading, self.columns)
        return np.ascontiguousarray(np.swapaxes(made, -1, -2))

    def dequantized(self) -> Array:
        """What the codes stand for: float32 of the weight's shape."""
        codes = self.quantize(0, self.rows).codes.astype(np.float32)
        return (codes * np.float32(self.scale)).reshape(*self.leading, self.columns)


def scale_for(largest: float) -> float:
    """The least power of two that brings ``largest`` to 448 or below, and that bfloat16 holds."""
    return 2.0 ** max(math.ceil(math.log2(largest / LARGEST)), _LEAST_POWER) if largest > 0 else 1.0
