"""Weights that an engine reads as codes, as references: a part of an int4 or fp8 matrix (`formats/`)."""

from __future__ import annotations

import onnx_ir as ir

from g4compile.bundle.weight_codes import EnginePart, Word
from g4compile.graph.references import static_shape
from g4compile.weights.coded import CodedTensor
from g4compile.weights.formats.blocks import BlockFormat
from g4compile.weights.formats.float8 import FP8, Float8Matrix
from g4compile.weights.formats.int4 import INT4, Int4Matrix, block_of
from g4compile.weights.references import CheckpointTensor

EngineMatrix = Int4Matrix | Float8Matrix
QUANTIZER = "search"  # how scales of 4-bit codes are found
_CODES = {INT4: ir.DataType.INT4, FP8: ir.DataType.FLOAT8E4M3FN}


class EngineTensor(CodedTensor):
    """One part of an `EngineMatrix`: `codes` or `scales`."""

    matrix: EngineMatrix

    def __init__(self, matrix: EngineMatrix, part: str) -> None:
        dtype = _CODES[_format(matrix)] if part == "codes" else ir.DataType.BFLOAT16
        shape, name = ir.Shape(matrix.shape(part)), f"{matrix.weight.key}.{part}"
        super().__init__(self._load, dtype=dtype, shape=shape, name=name)
        self.matrix, self.part = matrix, part
        self.key = matrix.weight.key

    @property
    def words(self) -> tuple[Word, ...]:
        block = None if isinstance(self.matrix, Float8Matrix) else self.matrix.format.block
        return (*self.matrix.weight.steps, EnginePart(self.part, _format(self.matrix), block))

    def _load(self) -> ir.TensorProtocol:
        if self.part == "codes":
            return ir.Tensor(self.matrix.codes(), name=self.name)
        scales = self.matrix.quantize(0, self.matrix.rows).scales
        return ir.Tensor(scales.reshape(self.matrix.shape("scales")), name=self.name)


def engine_matrix(weight: CheckpointTensor, format: str) -> EngineMatrix | None:
    """``weight`` as codes of ``format``: fp8, or int4, its scales searched for. None when no block divides its rows."""
    if format == FP8:
        return Float8Matrix(weight)
    block = block_of(static_shape(weight)[-1])
    return None if block is None else Int4Matrix(weight, BlockFormat(4, block), QUANTIZER)


def _format(matrix: EngineMatrix) -> str:
    return INT4 if isinstance(matrix, Int4Matrix) else FP8
