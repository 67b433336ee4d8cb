"""insert-activation-rounding: products round what they read and give as the checkpoint's calibration says.

Before:                        After (input scale 0.05, output scale off):
    y = g4.Linear (x, w)           r = g4.RoundActivations <scale = 0.05> (x)
                                   y = g4.Linear (r, w)

Only weights stored as codes have such scales; they are read here, a number a product. Products of one input with the
same scale read one rounded value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.graph.edit import Inserter, replace
from g4compile.graph.stage import op_name
from g4compile.ops.insert import insert_op
from g4compile.weights.quantized import QuantizedTensor
from g4compile.weights.stored import STORED, activation_scales


@dataclass(frozen=True)
class InsertActivationRounding:
    name: ClassVar[str] = "insert-activation-rounding"
    stages: ClassVar[tuple[str, ...]] = ("scheduled",)

    def apply(self, model: ir.Model) -> None:
        rounded: dict[tuple[ir.Value, float], ir.Value] = {}
        for node in list(model.graph):
            codes = _codes(node)
            if codes is None or codes.matrix.quantizer != STORED:
                continue
            before, after = activation_scales(codes.matrix.weight.bound, codes.key)
            x, weight = node.inputs
            assert x is not None and weight is not None
            insert = Inserter(node)
            if before:
                if (x, before) not in rounded:
                    (rounded[x, before],) = insert_op(insert, "RoundActivations", [x], {"scale": before})
                x = rounded[x, before]
            (product,) = insert_op(insert, "Linear", [x, weight])
            if after:
                (product,) = insert_op(insert, "RoundActivations", [product], {"scale": after})
            replace(node.outputs[0], product)
            model.graph.remove(node, safe=True)


def _codes(node: ir.Node) -> QuantizedTensor | None:
    """The codes that a product multiplies with, when it reads codes."""
    if op_name(node) != "g4.Linear" or node.inputs[1] is None:
        return None
    dequantize = node.inputs[1].producer()
    if dequantize is None or op_name(dequantize) != "g4.Dequantize" or dequantize.inputs[0] is None:
        return None
    codes = dequantize.inputs[0].const_value
    return codes if isinstance(codes, QuantizedTensor) else None
