"""Quantised weights as references: codes, scales and zero points of one matrix, in blocks (`formats/blocks.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from g4compile.bundle.manifest import BLOCKS
from g4compile.bundle.weight_codes import PARTS, BlockPart, CodeWord, Flat, Word
from g4compile.errors import Defect
from g4compile.graph.references import static_shape
from g4compile.weights.coded import CodedMatrix, CodedTensor
from g4compile.weights.formats.blocks import Array, BlockFormat, Codes
from g4compile.weights.quantize import QUANTIZERS
from g4compile.weights.stored import STORED, read_stored, stored_codes

_ROWS_AT_ONCE = 16  # keeps the arrays of one step in a core's cache


@dataclass(frozen=True, eq=False)
class QuantizedMatrix(CodedMatrix):
    """``weight`` as rows of K weights, in ``format``, by ``quantizer``, or as the checkpoint holds them."""

    format: BlockFormat
    quantizer: str
    layout: ClassVar[str] = BLOCKS

    def shape(self, part: str) -> tuple[int, ...]:
        """Sizes of ``part``, the leading sizes of the weight in front."""
        shapes = {
            "codes": self.format.codes_shape,
            "scales": self.format.scales_shape,
            "zero_points": self.format.zero_points_shape,
        }
        return (*self.leading, *shapes[part](1, self.columns)[1:])

    def dtype(self, part: str) -> ir.DataType:
        return ir.DataType.FLOAT if part == "scales" else ir.DataType.UINT8

    @property
    def layout_words(self) -> tuple[CodeWord, ...]:
        """What stands behind the word of a part."""
        return ()

    @property
    def parts(self) -> tuple[str, ...]:
        return PARTS[:2] if self.format.symmetric else PARTS

    def quantize(self, start: int, stop: int) -> Codes:
        """Rows ``start`` to ``stop``, packed."""
        if self.quantizer == STORED:
            return self._stored(start, stop)
        quantizer = QUANTIZERS[self.quantizer]
        rows = self.weight.read_rows(start, stop)
        pieces = [quantizer(rows[i : i + _ROWS_AT_ONCE], self.format) for i in range(0, len(rows), _ROWS_AT_ONCE)]
        zeros = [piece.zero_points for piece in pieces if piece.zero_points is not None]
        return Codes(
            np.concatenate([piece.codes for piece in pieces]),
            np.concatenate([piece.scales for piece in pieces]),
            np.concatenate(zeros) if zeros else None,
        )

    def _stored(self, start: int, stop: int) -> Codes:
        checkpoint = self.weight.bound
        stored = stored_codes(checkpoint, self.weight.key, (*self.leading, self.columns))
        if stored is None:
            raise Defect(f"the weight {self.weight.key} is not stored as codes")
        codes = read_stored(checkpoint, stored, self.format, (start, stop))
        return Codes(codes.codes, codes.scales * np.float32(self.weight.scale), None)

    def dequantized(self) -> Array:
        """What the codes stand for: float32 of the weight's shape."""
        rows = self.format.dequantize(self.quantize(0, self.rows), self.columns)
        return rows.reshape(*self.leading, self.columns)


class QuantizedTensor(CodedTensor):
    """One ``part`` of ``matrix``. ``flat`` joins the last two sizes of the codes, as lookups want them."""

    matrix: QuantizedMatrix

    def __init__(self, matrix: QuantizedMatrix, part: str, flat: bool = False) -> None:
        shape = matrix.shape(part)
        if flat:
            shape = (*shape[:-2], shape[-2] * shape[-1])
        super().__init__(
            self._load, dtype=matrix.dtype(part), shape=ir.Shape(shape), name=f"{matrix.weight.key}.{part}"
        )
        self.matrix, self.part, self.flat = matrix, part, flat
        self.key = matrix.weight.key

    @property
    def words(self) -> tuple[Word, ...]:
        format, matrix = self.matrix.format, self.matrix
        part = BlockPart(
            self.part, format.bits, format.block, format.symmetric, matrix.quantizer, matrix.columns, format.scales
        )
        return (*matrix.weight.steps, part, *matrix.layout_words, *([Flat()] if self.flat else []))

    def flattened(self) -> QuantizedTensor:
        """The same bytes as a table of rows."""
        return QuantizedTensor(self.matrix, self.part, flat=True)

    def _load(self) -> ir.TensorProtocol:
        array = getattr(self.matrix.quantize(0, self.matrix.rows), self.part)
        return ir.Tensor(array.reshape(static_shape(self)), name=self.name)
