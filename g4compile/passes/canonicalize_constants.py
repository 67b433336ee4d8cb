"""canonicalize-constants: fold what is known, drop what does nothing.

Before:                                            After:
    scale = Cast <to = 16> (const 39.19184)            v1 = Mul (v0, const 39.25)
    v1 = Mul (v0, scale)
    v2 = Mul (v1, const 1.0)                           (readers of v2 read v1)
    e  = Expand (f, [batch, 8, 1])
    v3 = Mul (e, p)      (p is [batch, 1, new])        v3 = Mul (f, p)

The embedding scale is folded at the rounding of the weights' dtype (39.25 for bfloat16 E2B), because the export
computes it so. Weights are never read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from g4compile.errors import Defect
from g4compile.graph import edit
from g4compile.graph.axes import sizes_of
from g4compile.graph.build import Builder, infer
from g4compile.graph.stage import describe

_SMALL = 1 << 16
_NEUTRAL = {"Mul": 1.0, "Div": 1.0, "Add": 0.0, "Sub": 0.0}


@dataclass(frozen=True)
class CanonicalizeConstants:
    name: ClassVar[str] = "canonicalize-constants"
    stages: ClassVar[tuple[str, ...]] = ("traced", "canonical", "fused", "scheduled", "quantized")

    def apply(self, model: ir.Model) -> None:
        for node in list(model.graph):
            if node.domain == "" and not self._fold(node):
                self._drop_neutral(node)

    def _fold(self, node: ir.Node) -> bool:
        """Evaluate a node whose operands are all constants."""
        arrays = [edit.constant_array(value) for value in node.inputs if value is not None]
        if not arrays or len(node.outputs) != 1 or any(array is None or array.size > _SMALL for array in arrays):
            return False
        output = node.outputs[0]
        proto = ir.serde.serialize_node(node)
        proto.domain, proto.name = "", ""
        types = [value.dtype for value in node.inputs if value is not None]
        inputs = [
            onnx.helper.make_tensor_value_info(name, int(dtype), None)
            for name, dtype in zip(proto.input, types, strict=True)
            if dtype is not None
        ]
        graph = onnx.helper.make_graph(
            [proto], "fold", inputs, [onnx.helper.make_tensor_value_info(proto.output[0], 0, None)]
        )
        opset = Builder(node).graph.opset_imports[""]
        ((_, shape),) = infer(node, opset)
        if shape is None or not shape.is_static() or math.prod(shape.numpy()) > _SMALL:
            return False
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
        try:
            (result,) = ReferenceEvaluator(model).run(None, dict(zip(proto.input, arrays, strict=True)))
        except Exception as error:  # what NumPy raises for operands that an op does not take: a dozen types
            raise Defect(
                f"{describe(node)} cannot be evaluated", where=self.name, why=f"{type(error).__name__}: {error}"
            ) from error
        result = np.asarray(result)
        edit.replace(output, Builder(node).constant(result, ir.DataType.from_numpy(result.dtype)))
        return True

    def _drop_neutral(self, node: ir.Node) -> None:
        """x * 1, x / 1, x + 0, x - 0, casts to the dtype a value has, and what the reader broadcasts anyway."""
        if node.op_type == "Expand":
            _drop_expand(node)
        if node.op_type == "Cast" and node.inputs[0] is not None and node.inputs[0].dtype == node.outputs[0].dtype:
            edit.replace(node.outputs[0], node.inputs[0])
        neutral = _NEUTRAL.get(node.op_type)
        if neutral is None or len(node.inputs) != 2:
            return
        left, right = node.inputs
        sides = [(left, right)] if node.op_type in ("Sub", "Div") else [(left, right), (right, left)]
        for kept, other in sides:
            array = edit.constant_array(other)
            if (
                array is not None
                and array.size == 1
                and array.ndim == 0
                and float(array) == neutral
                and kept is not None
            ):
                edit.replace(node.outputs[0], kept)
                return


def _drop_expand(node: ir.Node) -> None:
    """Readers that broadcast to the same sizes through their other operand read what was expanded."""
    source, expanded = node.inputs[0], node.outputs[0]
    before, after = sizes_of(source), sizes_of(expanded)
    if len(before) != len(after):
        return
    widened = [axis - len(after) for axis in range(len(after)) if before[axis] != after[axis]]
    for reader, index in list(expanded.uses()):
        if reader.op_type not in _NEUTRAL:
            continue
        other = reader.inputs[1 - index]
        sizes = sizes_of(other)
        if all(-axis <= len(sizes) and sizes[axis] == after[axis] for axis in widened):
            reader.replace_input_with(index, source)
