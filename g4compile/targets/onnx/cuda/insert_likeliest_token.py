"""insert-likeliest-token: the likeliest token leaves the graph beside the logits, by ops that ONNX Runtime has.

Before:                                         After:
    logits = ...       [batch, kept, V]             logits = ...
                                                    last = Gather <axis = 1> (logits, -1)
                                                    value, next_token = TopK (last, 1)      [batch, 1]

It is that of the last position. TopK is ONNX Runtime's own kernel, and gives the lowest of equal ones by ONNX's words;
ArgMax is one of cuDNN, which need not be here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import MatchError
from g4compile.graph.axes import sizes_of
from g4compile.graph.edit import constant, module_of
from g4compile.targets.fused.products import LOGITS
from g4compile.targets.onnx.cuda.insert_next_token import NEXT_TOKEN


@dataclass(frozen=True)
class InsertLikeliestToken:
    name: ClassVar[str] = "insert-likeliest-token"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)

    def apply(self, model: ir.Model) -> None:
        graph = model.graph
        logits = next((value for value in graph.outputs if value.name == LOGITS), None)
        made = logits.producer() if logits is not None else None
        if logits is None or made is None:
            raise MatchError(f"the graph computes no output {LOGITS}", where=self.name)
        batch, _, words = sizes_of(logits)
        names = [f"{module_of(made)}/{op}" for op in ("Gather", "TopK")]
        last = ir.node("Gather", [logits, constant(graph, -1)], {"axis": 1}, name=names[0])
        row = last.outputs[0]
        row.type, row.shape = logits.type, ir.Shape([batch, words])
        attributes = {"axis": -1, "largest": 1, "sorted": 1}
        top = ir.node("TopK", [row, constant(graph, [1])], attributes, num_outputs=2, name=names[1])
        for value, dtype in zip(top.outputs, (logits.dtype, ir.DataType.INT64), strict=True):
            value.type, value.shape = ir.TensorType(dtype or ir.DataType.FLOAT), ir.Shape([batch, 1])
        top.outputs[1].name = NEXT_TOKEN
        graph.insert_after(made, [last, top])
        graph.outputs.append(top.outputs[1])
