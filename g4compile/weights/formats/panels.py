"""4-bit codes and scales in the order that the kernels for experts read: panels of rows (`weights/layouts.py`).

    codes   int8 [E, N / PANEL, K / block, PANEL, block / 2]; TensorRT hands them to a plugin as they are
    scales  bfloat16 [E, N / PANEL, K / block, PANEL]

The codes and scales are those of `int4.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import ml_dtypes
import numpy as np

from g4compile.errors import InputError
from g4compile.weights.formats.blocks import Array, Codes, unpack_bits
from g4compile.weights.formats.int4 import Int4Matrix
from g4compile.weights.layouts import PANEL, pack_panels, unpack_panels
from g4compile.weights.quantized import QuantizedMatrix

PANELS = "panels"


@dataclass(frozen=True, eq=False)
class PanelMatrix(QuantizedMatrix):
    """``weight`` [E, N, K] in symmetric blocks that divide K, and N a multiple of PANEL."""

    unit: ClassVar[int] = PANEL

    def shape(self, part: str) -> tuple[int, ...]:
        *experts, rows = self.leading
        panels = (*experts, rows // PANEL, self.columns // self.format.block, PANEL)
        return (*panels, self.format.block // 2) if part == "codes" else panels

    def quantize(self, start: int, stop: int) -> Codes:
        made = super().quantize(start, stop)
        levels = unpack_bits(made.codes.reshape(stop - start, -1), 4)
        codes, scales = pack_panels(levels[None], made.scales[None], self.format.block)
        return Codes(codes.view(np.int8), scales.astype(ml_dtypes.bfloat16), None)

    def codes(self) -> Array:
        """int8, in the shape of the part."""
        return self.quantize(0, self.rows).codes.reshape(self.shape("codes"))

    def dequantized(self) -> Array:
        made = self.quantize(0, self.rows)
        return unpack_panels(made.codes, made.scales.astype(np.float32)).reshape(*self.leading, self.columns)


def panel_matrix(matrix: Int4Matrix) -> PanelMatrix:
    """The same weights in panels. Raises InputError when rows do not fill them."""
    if matrix.leading[-1] % PANEL:
        raise InputError(
            f"the experts' weight {matrix.weight.key} has {matrix.leading[-1]} rows, which is no multiple of {PANEL}",
            why="kernels read 4-bit codes in panels of that many rows",
            fix="--weights bfloat16",
        )
    return PanelMatrix(matrix.weight, matrix.format, matrix.quantizer)
