"""insert-next-token: the likeliest token leaves the graph beside the logits, which may stay on the device.

Before:                                         After:
    logits = ...       [batch, kept, V]             logits = ...
                                                    next_token = g4.NextToken (logits)     [batch, 1]

It is that of the last position; of equal ones the lowest. A greedy choice then costs 8 bytes a sequence, and the next
run can read it where it stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import MatchError
from g4compile.graph.axes import sizes_of
from g4compile.graph.edit import module_of
from g4compile.ops.schema import DOMAIN
from g4compile.targets.fused.operands import INTEGER
from g4compile.targets.fused.products import LOGITS

NEXT_TOKEN = "next_token"


@dataclass(frozen=True)
class InsertNextToken:
    name: ClassVar[str] = "insert-next-token"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)

    def apply(self, model: ir.Model) -> None:
        logits = next((value for value in model.graph.outputs if value.name == LOGITS), None)
        last = logits.producer() if logits is not None else None
        if logits is None or last is None:
            raise MatchError(f"the graph computes no output {LOGITS}", where=self.name)
        node = ir.node("NextToken", [logits], domain=DOMAIN, name=f"{module_of(last)}/NextToken")
        (token,) = node.outputs
        token.name, token.type, token.shape = NEXT_TOKEN, ir.TensorType(INTEGER), ir.Shape([sizes_of(logits)[0], 1])
        model.graph.insert_after(last, node)
        model.graph.outputs.append(token)
