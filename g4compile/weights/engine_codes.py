"""4-bit weights as TensorRT reads them: signed codes in pairs, the first in the low bits, and a bfloat16 scale a block.

    codes  int4 [.., N, K], two a byte        weight = code * scale, code from -8 to 7
    scales bfloat16 [.., N, K / block]

Source: NVIDIA, `IDequantizeLayer`, whose block follows from the two shapes.
"""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np
import onnx_ir as ir

from g4compile.weights.formats import Array, BlockFormat, Codes, unpack_bits
from g4compile.weights.lazy import CheckpointTensor
from g4compile.weights.quantized import QuantizedMatrix, QuantizedTensor

BLOCKS = (128, 64, 32)  # the longest that divides a row: 704 columns of 26B-A4B's down_proj take 64
_SIGN = np.uint8(0x88)  # of both codes of a byte: code + 8 to two's complement and back


def block_of(columns: int) -> int | None:
    """How many weights of a row of ``columns`` share a scale; None when no block divides it."""
    return next((block for block in BLOCKS if columns % block == 0), None)


@dataclass(frozen=True, eq=False)
class EngineMatrix(QuantizedMatrix):
    """``weight`` [..., K] in symmetric blocks that divide K."""

    def shape(self, part: str) -> tuple[int, ...]:
        return (*self.leading, self.columns if part == "codes" else self.columns // self.form.block)

    def quantize(self, start: int, stop: int) -> Codes:
        made = super().quantize(start, stop)
        codes = made.codes.reshape(stop - start, -1) ^ _SIGN
        return Codes(codes, made.scales.astype(ml_dtypes.bfloat16), None)

    def dequantized(self) -> Array:
        made = self.quantize(0, self.rows)
        return dequantize(made.codes, made.scales, self.columns).reshape(*self.leading, self.columns)


def dequantize(codes: Array, scales: Array, columns: int) -> Array:
    """float32 [N, columns] of packed codes [N, columns / 2] and scales [N, blocks]."""
    levels = unpack_bits(codes ^ _SIGN, 4).astype(np.float32) - 8
    weights: Array = levels * np.repeat(scales.astype(np.float32), columns // scales.shape[-1], -1)
    return weights


class EngineTensor(QuantizedTensor):
    """One part of an `EngineMatrix`: `codes` or `scales`."""

    def __init__(self, matrix: EngineMatrix, part: str) -> None:
        dtype = ir.DataType.INT4 if part == "codes" else ir.DataType.BFLOAT16
        ir.LazyTensor.__init__(
            self, self._load, dtype=dtype, shape=ir.Shape(matrix.shape(part)), name=f"{matrix.weight.key}.{part}"
        )
        self.matrix, self.part, self.flat = matrix, part, False

    @property
    def steps(self) -> tuple[str, ...]:
        return (*self.matrix.weight.steps, f"engine-{self.part}=int4:{self.matrix.form.block}")

    def packed(self) -> Array:
        """The bytes of this part: codes two a byte, or scales."""
        made: Array = getattr(self.matrix.quantize(0, self.matrix.rows), self.part)
        return made

    def _load(self) -> ir.TensorProtocol:
        packed = self.packed()
        if self.part == "scales":
            return ir.Tensor(packed.reshape(self.matrix.shape("scales")), name=self.name)
        levels = unpack_bits(packed ^ _SIGN, 4).astype(np.int8) - np.int8(8)
        return ir.Tensor(levels.reshape(self.matrix.shape("codes")).astype(ml_dtypes.int4), name=self.name)


def engine_matrix(weight: CheckpointTensor) -> EngineMatrix | None:
    """``weight`` as 4-bit codes, scales searched for; None when no block divides its rows."""
    block = block_of(int(weight.shape[-1]))  # type: ignore[arg-type]  # weights are static
    return None if block is None else EngineMatrix(weight, BlockFormat(4, block), "search")
