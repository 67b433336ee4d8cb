"""lower-to-launches: each op of libg4cuda says which kernels it launches, and how large its outputs are.

Before:                            After:
    y = g4.RotaryAngles (p, f)         y = g4.RotaryAngles (p, f)
                                           launches = ["* rotary_angles.128 i0 i1 o0 128 i0.0*i0.1"]
                                           sizes = ["* o0 i0.0 i0.1 2 128"]

What a plan writes beside the outputs of the node is scratch, whose memory the library takes while the op runs. How
large an output is, the plan alone knows: sizes between ops are not written into a bundle. Source:
`docs/design/0010-onnx-cuda.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import Defect
from g4compile.passes.base import expect
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
        for node in model.graph:
            plan = plan_of(node)
            if plan is None:
                continue
            plan.write(node)
            found += 1
        expect(self.name, "ops with plans", found, self.ops, "no other op is of libg4cuda")


def kernels_of(nodes: Sequence[ir.Node]) -> list[Kernel]:
    """All kernels that ``nodes`` launch, each once. Raises Defect where two have one name."""
    found: dict[str, Kernel] = {}
    for plan in map(plan_of, nodes):
        for kernel in plan.kernels if plan is not None else ():
            if found.setdefault(kernel.name, kernel) != kernel:
                raise Defect(f"two kernels are named {kernel.name}")
    return list(found.values())
