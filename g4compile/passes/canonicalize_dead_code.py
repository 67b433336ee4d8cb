"""canonicalize-dead-code: one node for equal computations, none for unread ones.

Before:                                  After:
    v0 = Unsqueeze (cos, [-2])               v0 = Unsqueeze (cos, [-2])
    v1 = Unsqueeze (cos, [-2])               v2 = Mul (x, v0)
    v2 = Mul (x, v0)                         v3 = Mul (y, v0)
    v3 = Mul (y, v1)
    v4 = Neg (v3)        (unread)

Unread initializers go as well. The work is `onnx_ir`'s own passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir
from onnx_ir.passes.common import CommonSubexpressionEliminationPass, RemoveUnusedNodesPass


@dataclass(frozen=True)
class CanonicalizeDeadCode:
    name: ClassVar[str] = "canonicalize-dead-code"
    stages: ClassVar[tuple[str, ...]] = ("traced", "canonical", "fused", "scheduled", "quantized")

    def apply(self, model: ir.Model) -> None:
        CommonSubexpressionEliminationPass()(model)
        RemoveUnusedNodesPass()(model)
