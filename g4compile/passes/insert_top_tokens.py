"""insert-top-tokens: the likeliest tokens leave the graph beside the logits, so that a runtime can choose without them.

Before:                                         After:
    logits = ...          [batch, kept, V]          logits = ...
                                                    top_logits, top_tokens = TopK (logits, 64)      [batch, kept, 64]

Greedy choice needs the first, sampling from the k likeliest k of them: a few hundred bytes per token instead of a
megabyte from a device. The checkpoints' own generation config samples from 64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import MatchError
from g4compile.graph import edit
from g4compile.graph.axes import sizes_of

TOP_LOGITS, TOP_TOKENS = "top_logits", "top_tokens"


@dataclass(frozen=True)
class InsertTopTokens:
    """``count``: how many tokens, or the whole vocabulary where that is less."""

    name: ClassVar[str] = "insert-top-tokens"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)
    count: int = 64

    def apply(self, model: ir.Model) -> None:
        logits = next((value for value in model.graph.outputs if value.name == "logits"), None)
        node = logits.producer() if logits is not None else None
        vocabulary = logits.shape[-1] if logits is not None and logits.shape is not None else None
        if logits is None or node is None or not isinstance(vocabulary, int):
            raise MatchError("the graph computes no output logits over a known vocabulary", where=self.name)
        shape = [*sizes_of(logits)[:-1], min(self.count, vocabulary)]
        size = edit.constant(model.graph, [min(self.count, vocabulary)])
        top = ir.node("TopK", [logits, size], {"axis": -1}, num_outputs=2, name=f"{edit.module_of(node)}/TopK")
        model.graph.insert_after(node, top)
        named = zip(top.outputs, (TOP_LOGITS, TOP_TOKENS), (logits.dtype, ir.DataType.INT64), strict=True)
        for value, name, dtype in named:
            value.name, value.shape = name, ir.Shape(shape)
            value.type = ir.TensorType(dtype or ir.DataType.FLOAT)
            model.graph.outputs.append(value)
