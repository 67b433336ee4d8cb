"""lower-to-launches: each op of libg4cuda says which kernels it launches, and how large its outputs are.

Before:                            After:
    y = g4.RotaryAngles (p, f)         y = g4.RotaryAngles (p, f)
                                           launches = ["* rotary_angles.128 i0 i1 o0 128 i0.0*i0.1"]
                                           sizes = ["* o0 i0.0 i0.1 2 128"]

Scratch becomes outputs that no node reads. How large an output is, the plan alone knows: sizes between ops are not
written into a bundle. Source: `docs/design/0010-onnx-cuda.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import Defect
from g4compile.ops.schema import DOMAIN
from g4compile.passes.base import expect
from g4compile.targets.fused.plan import OUTPUTS
from g4compile.targets.fused.plans.registry import plan_of
from g4compile.targets.kernels.kernel import Kernel


@dataclass(frozen=True)
class LowerToLaunches:
    """``ops``: how many have plans, or None."""

    name: ClassVar[str] = "lower-to-launches"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)
    ops: int | None = None

    def apply(self, model: ir.Model) -> None:
        found = 0
        for node in list(model.graph):
            whole = _with_scratch(node, model.graph)
            plan = plan_of(whole)
            if plan is None:
                continue
            plan.write(whole)
            found += 1
        expect(self.name, "ops with plans", found, self.ops, "no other op is of libg4cuda")


def _with_scratch(node: ir.Node, graph: ir.Graph) -> ir.Node:
    """``node`` of ``graph`` with all outputs that its op has."""
    types = OUTPUTS.get(node.op_type, ()) if node.domain == DOMAIN else ()
    if len(node.outputs) >= len(types):
        return node
    made = ir.Node(
        node.domain, node.op_type, list(node.inputs), list(node.attributes.values()), num_outputs=len(types),
        name=node.name, metadata_props=dict(node.metadata_props),
    )  # fmt: skip
    for old, new in zip(node.outputs, made.outputs, strict=False):
        new.type, new.shape, new.name = old.type, old.shape, old.name
    for value, dtype in zip(made.outputs[len(node.outputs) :], types[len(node.outputs) :], strict=True):
        value.type = ir.TensorType(dtype)
    graph.insert_before(node, made)
    for old, new in zip(node.outputs, made.outputs, strict=False):
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    return made


def kernels_of(nodes: Sequence[ir.Node]) -> list[Kernel]:
    """All kernels that ``nodes`` launch, each once. Raises Defect where two have one name."""
    found: dict[str, Kernel] = {}
    for plan in map(plan_of, nodes):
        for kernel in plan.kernels if plan is not None else ():
            if found.setdefault(kernel.name, kernel) != kernel:
                raise Defect(f"two kernels are named {kernel.name}")
    return list(found.values())
