"""canonicalize-geglu: the tanh GELU of a gate times its partner becomes one op.

Before:                                              After:
    v0 = Gelu <approximate = "tanh"> (gate)              y = g4.GeGLU (gate, up)
    y  = Mul (v0, up)

Another GELU (exact, or a sigmoid stand-in) is not this op and is not matched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.graph import edit
from g4compile.graph.build import Builder
from g4compile.graph.match import Any_, Miss, Node, match
from g4compile.ops.geglu import GeGLU
from g4compile.passes.base import expect

_GEGLU = Node("Mul", Node("Gelu", Any_("gate"), approximate="tanh"), Any_("up"))


@dataclass(frozen=True)
class CanonicalizeGeGLU:
    """``gates``: how many the model has; None accepts any number."""

    name: ClassVar[str] = "canonicalize-geglu"
    stages: ClassVar[tuple[str, ...]] = ("traced",)
    gates: int | None = None

    def apply(self, model: ir.Model) -> None:
        found, nearest = 0, "no Gelu is left"
        for node in list(model.graph):
            if node.op_type != "Gelu":
                continue
            readers = node.outputs[0].consumers()
            result = (
                match(_GEGLU, readers[0].outputs[0])
                if len(readers) == 1
                else Miss(0, f"{len(readers)} nodes read the Gelu {node.name}")
            )
            if isinstance(result, Miss):
                nearest = result.reason
                continue
            output = readers[0].outputs[0]
            edit.replace(output, GeGLU.insert(Builder(readers[0]), result["gate"], result["up"]))
            found += 1
        expect(self.name, "gated units", found, self.gates, nearest)
