"""legalize: every op becomes one its target has.

    keep it if it is legal, else apply the target's lowering, else inline its own body, else fail.

Generic: which ops are legal and how they are lowered is the target's data. A failure names the node, the layer
it came from, and what would make it legal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass, LiftConstantsToInitializersPass

from g4compile.errors import SpecError
from g4compile.graph.edit import Inserter, module_of, replace
from g4compile.graph.stage import describe, op_name
from g4compile.ops import DOMAIN, attach_bodies

Lowering = Callable[[ir.Node, Inserter], list[ir.Value]]


@dataclass(frozen=True)
class Legalize:
    target: str
    legal: frozenset[str]
    lowerings: Mapping[str, Lowering]
    dtypes: frozenset[ir.DataType]
    name: ClassVar[str] = "legalize"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)

    def apply(self, model: ir.Model) -> None:
        for node in list(model.graph):
            lowering = self.lowerings.get(op_name(node))
            if op_name(node) in self.legal or lowering is None:
                continue
            for old, new in zip(node.outputs, lowering(node, Inserter(node)), strict=True):
                replace(old, new)
            model.graph.remove(node, safe=True)
        self._inline(model)
        self._refuse(model)

    def _inline(self, model: ir.Model) -> None:
        """Bodies of what is left, in place; their nodes take the module path of the node they replace."""
        attach_bodies(model)
        before = set(model.graph.all_nodes())
        origin = {value: module_of(node) for node in before for value in node.outputs}
        InlinePass(criteria=lambda function: function.domain == DOMAIN and f"{DOMAIN}.{function.name}" not in self.legal)(model)
        module = ""
        for node in reversed(list(model.graph)):
            module = next((origin[value] for value in node.outputs if value in origin), module)
            if node not in before:
                node.name = f"{module}/{node.op_type}"
        LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)

    def _refuse(self, model: ir.Model) -> None:
        for node in model.graph.all_nodes():
            if op_name(node) not in self.legal:
                raise SpecError(
                    f"{self.target} cannot run {op_name(node)}", where=describe(node), why="it is not legal, has no lowering for this target and no body", fix="add a lowering to the target"
                )
            for value in node.outputs:
                if value.dtype is not None and value.dtype not in self.dtypes:
                    raise SpecError(f"{self.target} cannot hold {value.dtype.name} values", where=describe(node))
