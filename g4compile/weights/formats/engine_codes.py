"""Weights as TensorRT dequantises them where it reads them: codes, and scales in bfloat16.

    int4     codes [.., N, K] signed, two a byte, the first in the low bits     scales [.., N, K / block]     -8 to 7
    panels   4-bit codes and scales in the order of the kernels for experts (`weights/layouts.py`), in int8: no layer's, a plugin's
    fp8      codes [.., K, N] float8 e4m3, turned (`float8.py`)                 scales []                     up to 448

    weight = code * scale

Source: NVIDIA, `IDequantizeLayer`, whose block follows from the two shapes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import ml_dtypes
import numpy as np
import onnx_ir as ir

from g4compile.errors import InputError
from g4compile.weights.formats.blocks import Array, BlockFormat, Codes, unpack_bits
from g4compile.weights.formats.float8 import Float8Matrix
from g4compile.weights.layouts import PANEL, pack_panels, unpack_panels
from g4compile.weights.quantized import QuantizedMatrix, QuantizedTensor
from g4compile.weights.references import CheckpointTensor

INT4, FP8, PANELS = "int4", "fp8", "panels"  # the first two can be asked for
BLOCKS = (128, 64, 32)  # the longest that divides a row: 704 columns of 26B-A4B's down_proj take 64
_SIGN = np.uint8(0x88)  # of both codes of a byte: code + 8 to two's complement and back


def block_of(columns: int) -> int | None:
    """How many weights of a row of ``columns`` share a scale; None when no block divides it."""
    return next((block for block in BLOCKS if columns % block == 0), None)


@dataclass(frozen=True, eq=False)
class Int4Matrix(QuantizedMatrix):
    """``weight`` [..., K] in symmetric blocks that divide K."""

    @property
    def word(self) -> str:
        return f"{INT4}:{self.form.block}"

    def shape(self, part: str) -> tuple[int, ...]:
        return (*self.leading, self.columns if part == "codes" else self.columns // self.form.block)

    def quantize(self, start: int, stop: int) -> Codes:
        made = super().quantize(start, stop)
        codes = made.codes.reshape(stop - start, -1) ^ _SIGN
        return Codes(codes, made.scales.astype(ml_dtypes.bfloat16), None)

    def codes(self) -> Array:
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


@dataclass(frozen=True, eq=False)
class PanelMatrix(QuantizedMatrix):
    """As `Int4Matrix`, the same codes and scales, for experts' kernels."""

    unit: ClassVar[int] = PANEL

    @property
    def word(self) -> str:
        return f"{PANELS}:{self.form.block}"

    def shape(self, part: str) -> tuple[int, ...]:
        *experts, rows = self.leading
        panels = (*experts, rows // PANEL, self.columns // self.form.block, PANEL)
        return (*panels, self.form.block // 2) if part == "codes" else panels

    def quantize(self, start: int, stop: int) -> Codes:
        made = super().quantize(start, stop)
        levels = unpack_bits(made.codes.reshape(stop - start, -1), 4)
        codes, scales = pack_panels(levels[None], made.scales[None], self.form.block)
        return Codes(codes.view(np.int8), scales.astype(ml_dtypes.bfloat16), None)

    def codes(self) -> Array:
        return self.quantize(0, self.rows).codes.reshape(self.shape("codes"))

    def dequantized(self) -> Array:
        made = self.quantize(0, self.rows)
        return unpack_panels(made.codes, made.scales.astype(np.float32)).reshape(*self.leading, self.columns)


EngineMatrix = Int4Matrix | Float8Matrix | PanelMatrix
_CODES = {INT4: ir.DataType.INT4, FP8: ir.DataType.FLOAT8E4M3FN, PANELS: ir.DataType.INT8}


class EngineTensor(QuantizedTensor):
    """One part of an `EngineMatrix`: `codes` or `scales`."""

    matrix: EngineMatrix  # type: ignore[assignment]  # the one matrix that an engine reads

    def __init__(self, matrix: EngineMatrix, part: str) -> None:
        dtype = _CODES[matrix.word.partition(":")[0]] if part == "codes" else ir.DataType.BFLOAT16
        ir.LazyTensor.__init__(
            self, self._load, dtype=dtype, shape=ir.Shape(matrix.shape(part)), name=f"{matrix.weight.key}.{part}"
        )
        self.matrix, self.part, self.flat = matrix, part, False
        self.key = matrix.weight.key

    @property
    def steps(self) -> tuple[str, ...]:
        return (*self.matrix.weight.steps, f"engine-{self.part}={self.matrix.word}")

    def _load(self) -> ir.TensorProtocol:
        if self.part == "codes":
            return ir.Tensor(self.matrix.codes(), name=self.name)
        scales = self.matrix.quantize(0, self.matrix.rows).scales
        return ir.Tensor(scales.reshape(self.matrix.shape("scales")), name=self.name)


def engine_matrix(weight: CheckpointTensor, form: str) -> EngineMatrix | None:
    """``weight`` as codes of ``form``: fp8, or int4, its scales searched for. None when no block divides its rows."""
    if form == FP8:
        return Float8Matrix(weight)
    block = block_of(int(weight.shape[-1]))  # type: ignore[arg-type]  # weights are static
    return None if block is None else Int4Matrix(weight, BlockFormat(4, block), "search")


def panel_matrix(matrix: Int4Matrix) -> PanelMatrix:
    """The same weights in panels. Raises InputError when rows do not fill them."""
    if matrix.leading[-1] % PANEL:
        raise InputError(
            f"the experts' weight {matrix.weight.key} has {matrix.leading[-1]} rows, which is no multiple of {PANEL}",
            why="kernels read 4-bit codes in panels of that many rows",
            fix="--weights bfloat16",
        )
    return PanelMatrix(matrix.weight, matrix.form, matrix.quantizer)
