"""quantize-engine-weights: weights become 4-bit codes and scales that an engine dequantises where it reads them.

Before:                                     After:
    y = g4.Linear (x, W)                        w = DequantizeLinear <block_size = 128> (W.codes, W.scales)
                                                y = g4.Linear (x, w)

Products and experts whose weights are bfloat16, in blocks of 128, or of 64 or 32 where 128 does not divide a row. The router,
which computes in float32, and rows that no block divides are left. The embedding's rows are looked up by the host in the
checkpoint, so a tied table is coded for the last product alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.graph.edit import Inserter
from g4compile.graph.stage import op_name
from g4compile.passes.base import expect
from g4compile.weights.engine_codes import EngineTensor, engine_matrix
from g4compile.weights.lazy import CheckpointTensor

_WEIGHTS = {"g4.Linear": (1,), "g4.MoEExperts": (3, 4)}


@dataclass(frozen=True)
class QuantizeEngineWeights:
    """``products``: how many weights must be coded at least; None accepts any number, but not none."""

    name: ClassVar[str] = "quantize-engine-weights"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)
    products: int | None = None

    def apply(self, model: ir.Model) -> None:
        coded: dict[ir.Value, ir.Value] = {}
        nearest = "no product reads a bfloat16 weight of the checkpoint in rows that a block divides"
        for node in list(model.graph):
            for index in _WEIGHTS.get(op_name(node), ()):
                weight = node.inputs[index]
                if weight is None or weight.dtype != ir.DataType.BFLOAT16:
                    continue
                if weight not in coded:
                    made = _dequantized(node, weight)
                    if made is None:
                        continue
                    coded[weight] = made
                node.replace_input_with(index, coded[weight])
        expect(self.name, "weights", len(coded), self.products if coded or self.products else 1, nearest)
        for weight in coded:
            if not weight.uses():
                del model.graph.initializers[str(weight.name)]


def _dequantized(node: ir.Node, weight: ir.Value) -> ir.Value | None:
    stored = weight.const_value
    matrix = engine_matrix(stored) if isinstance(stored, CheckpointTensor) else None
    if matrix is None:
        return None
    insert = Inserter(node)
    operands = []
    for part in ("codes", "scales"):
        tensor = EngineTensor(matrix, part)
        value = ir.Value(
            name=f"{weight.name}.{part}", shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
        )
        insert.graph.register_initializer(value)
        operands.append(value)
    attributes = {"axis": -1, "block_size": matrix.form.block}
    return insert.op("DequantizeLinear", operands, attributes, shape=list(weight.shape or ()), dtype=weight.dtype)
