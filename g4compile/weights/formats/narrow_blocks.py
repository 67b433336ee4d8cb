"""Codes in blocks whose scales stand in two bytes: those of `blocks.py`, and scales bfloat16 [N, blocks].

No scale changes here: each was rounded to bfloat16 before codes were chosen for it (`BlockFormat.scales`).
"""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import onnx_ir as ir

from g4compile.bundle.weight_codes import CodeWord, Narrow
from g4compile.weights.formats.blocks import BFLOAT16, WHOLE_ROW, BlockFormat, Codes
from g4compile.weights.quantized import QuantizedMatrix


def fits_narrow(format: BlockFormat) -> bool:
    """Whether the scales of codes in ``format`` can stand in two bytes, each as it is."""
    return format.scales == BFLOAT16 and format.block != WHOLE_ROW


@dataclass(frozen=True, eq=False)
class NarrowBlocks(QuantizedMatrix):
    """As `QuantizedMatrix`; of its ``format`` `fits_narrow` holds."""

    def dtype(self, part: str) -> ir.DataType:
        return ir.DataType.BFLOAT16 if part == "scales" else super().dtype(part)

    @property
    def layout_words(self) -> tuple[CodeWord, ...]:
        return (Narrow(),)

    def quantize(self, start: int, stop: int) -> Codes:
        made = super().quantize(start, stop)
        return Codes(made.codes, made.scales.astype(ml_dtypes.bfloat16), made.zero_points)
