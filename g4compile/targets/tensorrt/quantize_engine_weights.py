"""quantize-engine-weights: weights become codes and scales that an engine dequantises where it reads them.

Before:                                     After (format = int4):
    y = g4.Linear (x, W)                        w = DequantizeLinear <block_size = 128> (W.codes, W.scales)
                                                y = g4.Linear (x, w)

                                            After (format = fp8):
                                                w = DequantizeLinear (W.codes, W.scales)      [K, N], one scale
                                                y = g4.Linear (x, Transpose (w))

Products and experts whose weights are bfloat16: 4 bits in blocks of 128, or of 64 or 32 where 128 does not divide a
row, or 8-bit floats. The router, which computes in float32, and rows that no block divides are left. The embedding's
rows are looked up by the host in the checkpoint, so a tied table is coded for the last product alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import InputError
from g4compile.graph.build import Builder
from g4compile.ops.registry import view, weight_operands
from g4compile.passes.base import expect
from g4compile.weights.engine_tensors import EngineMatrix, EngineTensor, engine_matrix
from g4compile.weights.formats.float8 import FP8
from g4compile.weights.formats.int4 import INT4
from g4compile.weights.references import CheckpointTensor


@dataclass(frozen=True)
class QuantizeEngineWeights:
    """``format``: int4 or fp8. ``products``: how many weights must be coded; None accepts any number, but not none."""

    name: ClassVar[str] = "quantize-engine-weights"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)
    format: str = INT4
    products: int | None = None

    def apply(self, model: ir.Model) -> None:
        if self.format not in (INT4, FP8):
            raise InputError(f"engines have no weights of {self.format}", fix=f"format = {INT4} or {FP8}")
        coded: dict[ir.Value, ir.Value] = {}
        nearest = "no product reads a bfloat16 weight of the checkpoint in rows that a block divides"
        for node in list(model.graph):
            for index in weight_operands(node) if view(node) is not None else ():
                weight = node.inputs[index]
                if weight is None or weight.dtype != ir.DataType.BFLOAT16:
                    continue
                if weight not in coded:
                    made = _dequantized(node, weight, self.format)
                    if made is None:
                        continue
                    coded[weight] = made
                node.replace_input_with(index, coded[weight])
        expect(self.name, "weights", len(coded), self.products if coded or self.products else 1, nearest)
        for weight in coded:
            if not weight.uses():
                del model.graph.initializers[str(weight.name)]


def _dequantized(node: ir.Node, weight: ir.Value, format: str) -> ir.Value | None:
    stored = weight.const_value
    matrix = engine_matrix(stored, format) if isinstance(stored, CheckpointTensor) else None
    if matrix is None:
        return None
    build = Builder(node)
    operands = [_part(build, weight, matrix, part) for part in ("codes", "scales")]
    blocks = (
        {"axis": -1, "block_size": matrix.shape("codes")[-1] // matrix.shape("scales")[-1]} if format == INT4 else {}
    )
    dequantized = ir.node("DequantizeLinear", operands, blocks)
    # In the weight's dtype: a scale in bfloat16 beside fp8 codes says so to ONNX too, beside int4 codes its schema does
    # not.
    dequantized.outputs[0].shape, dequantized.outputs[0].type = ir.Shape(matrix.shape("codes")), weight.type
    (value,) = build.insert(dequantized)
    if format == INT4:
        return value
    axes = list(range(len(matrix.shape("codes"))))
    return build.op("Transpose", value, perm=[*axes[:-2], axes[-1], axes[-2]])


def _part(build: Builder, weight: ir.Value, matrix: EngineMatrix, part: str) -> ir.Value:
    tensor = EngineTensor(matrix, part)
    name, kind = f"{weight.name}.{part}", ir.TensorType(tensor.dtype)
    value = ir.Value(name=name, shape=tensor.shape, type=kind, const_value=tensor)
    build.graph.register_initializer(value)
    return value
