"""narrow-scales: codes of weights have scales in bfloat16, the dtype that products and lookups then give.

Before:                                                 After:
    w = g4.Dequantize (codes, scales)   (float32)           w = g4.Dequantize (codes, scales)   (bfloat16)

Scales of products are rounded to it before codes are chosen (`quantize-weights`); those of tables that are only looked
up are rounded here. What no kernel reads is refused. Source: onnxruntime `ContribOperators.md`, MatMulNBits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.ops.dequantize import Dequantize
from g4compile.targets.fused.operands import weight


@dataclass(frozen=True)
class NarrowScales:
    name: ClassVar[str] = "narrow-scales"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)

    def apply(self, model: ir.Model) -> None:
        for coded in Dequantize.all_in(model.graph):
            weight(coded.weight, self.name)
            coded.infer()
