"""insert-activation-rounding: products round what they read and give as the checkpoint's calibration says.

Before:                        After (input scale 0.05, output scale off):
    y = g4.Linear (x, w)           r = g4.RoundActivations <scale = 0.05> (x)
                                   y = g4.Linear (r, w)

Only weights stored as codes have such scales; they are read here, a number per product. Products of one input with the
same scale read one rounded value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.graph.build import Builder
from g4compile.ops.dequantize import Dequantize
from g4compile.ops.linear import Linear
from g4compile.ops.round_activations import RoundActivations
from g4compile.weights.quantized import QuantizedTensor
from g4compile.weights.stored import STORED, activation_scales


@dataclass(frozen=True)
class InsertActivationRounding:
    name: ClassVar[str] = "insert-activation-rounding"
    stages: ClassVar[tuple[str, ...]] = ("scheduled",)

    def apply(self, model: ir.Model) -> None:
        rounded: dict[tuple[ir.Value, float], ir.Value] = {}
        for product in Linear.all_in(model.graph):
            codes = _codes(product)
            if codes is None or codes.matrix.quantizer != STORED:
                continue
            before, after = activation_scales(codes.matrix.weight.bound, codes.key)
            builder, x = Builder(product.node), product.x
            if before:
                if (x, before) not in rounded:
                    rounded[x, before] = RoundActivations.insert(builder, x, scale=before)
                x = rounded[x, before]
            y = Linear.insert(builder, x, product.weight)
            product.replace_by(RoundActivations.insert(builder, y, scale=after) if after else y)


def _codes(product: Linear) -> QuantizedTensor | None:
    """The codes that a product multiplies with, when it reads codes."""
    dequantize = Dequantize.producing(product.weight)
    codes = dequantize.codes.const_value if dequantize is not None else None
    return codes if isinstance(codes, QuantizedTensor) else None
