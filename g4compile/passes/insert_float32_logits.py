"""insert-float32-logits: logits leave the last product as float32, so the soft-cap does not round them again.

Before:                                         After:
    y      = g4.Linear (x, head)                    y      = g4.Linear (x, head)
    a      = Div (y, 30)                            w      = Cast <float32> (y)
    b      = Tanh (a)                               a      = Div (w, 30)
    logits = Mul (b, 30)      (bfloat16)            b      = Tanh (a)
                                                    logits = Mul (b, 30)      (float32)

In bfloat16 a capped logit near 30 has steps of 0.125. Graphs in float32 stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from g4compile.errors import MatchError
from g4compile.graph import edit
from g4compile.graph.build import Builder
from g4compile.graph.stage import describe, op_name
from g4compile.ops.linear import Linear

_CAP = {"Div", "Tanh", "Mul"}
_FLOAT = ir.DataType.FLOAT


@dataclass(frozen=True)
class InsertFloat32Logits:
    name: ClassVar[str] = "insert-float32-logits"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)

    def apply(self, model: ir.Model) -> None:
        logits = next((value for value in model.graph.outputs if value.name == "logits"), None)
        if logits is None:
            raise MatchError("the graph has no output logits", where=self.name)
        node, cap = logits.producer(), list[ir.Node]()
        while node is not None and op_name(node) in _CAP:
            cap.append(node)
            node = node.inputs[0].producer() if node.inputs[0] is not None else None
        if node is None or not Linear.matches(node):
            found = describe(node) if node is not None else "they are no result of a node"
            raise MatchError("the logits are not a product, capped or not", where=self.name, why=found)
        if logits.dtype == _FLOAT:
            return
        product = node.outputs[0]
        if not cap:
            linear, builder = Linear(node), Builder(node)
            linear.replace_by(builder.cast(Linear.insert(builder, linear.x, linear.weight), _FLOAT))
            return
        wide = Builder(cap[-1]).cast(product, _FLOAT)
        for part in reversed(cap):
            for index, operand in enumerate(part.inputs):
                array = edit.constant_array(operand)
                if operand is product:
                    part.replace_input_with(index, wide)
                elif array is not None:
                    part.replace_input_with(index, edit.constant(model.graph, array.astype(np.float32), _FLOAT))
            part.outputs[0].type = ir.TensorType(_FLOAT)
