"""canonicalize-embedding-scale: a scale behind a table lookup moves into the table.

Before:                                  After:
    v0 = Gather (table, ids)                 y = Gather (table * 16, ids)
    y  = Mul (v0, 16)

Exact for every scale: a lookup copies elements, so the same product of the same two numbers is rounded once,
when the bundle is written instead of at every token. A table that others read (an embedding tied to lm_head)
keeps its scale behind the lookup. Source: HF `Gemma4TextScaledWordEmbedding`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.graph import edit
from g4compile.graph.match import Any_, Miss, Node, Number, match
from g4compile.passes.base import expect
from g4compile.weights.references import CheckpointTensor

_SCALED = Node("Mul", Node("Gather", Any_("table"), Any_("ids"), axis=0, name="lookup"), Number("scale"))


@dataclass(frozen=True)
class CanonicalizeEmbeddingScale:
    """``tables``: how many scaled tables are read by one lookup only; None accepts any number."""

    name: ClassVar[str] = "canonicalize-embedding-scale"
    stages: ClassVar[tuple[str, ...]] = ("traced",)
    tables: int | None = None

    def apply(self, model: ir.Model) -> None:
        found, nearest = 0, "no product of a lookup is left"
        for node in list(model.graph):
            if node.op_type != "Mul":
                continue
            result = match(_SCALED, node.outputs[0])
            if isinstance(result, Miss):
                continue
            table, lookup = result["table"], result["lookup"].outputs[0]
            if not isinstance(table.const_value, CheckpointTensor):
                nearest = f"{table.name} is no weight"
            elif len(table.uses()) > 1 or len(lookup.uses()) > 1:
                nearest = f"{table.name} or its lookup has other readers"
            else:
                table.const_value = table.const_value.scaled(result["scale"])
                edit.replace(node.outputs[0], lookup)
                found += 1
        expect(self.name, "scaled tables", found, self.tables, nearest)
