"""fuse-norm-additions: a norm, the addition to the residual stream, and the layer's scalar are one op of libg4ops.

Before:                                       After:
    n = g4.RMSNorm (x, weight)                    y = g4.NormAdd (x, weight, residual, scalar)
    s = Add (residual, n)
    y = Mul (s, scalar)

The scalar is one number, and optional. A norm or a sum that something else reads too stays.
Source: `native/README.md`; transformers `Gemma4TextDecoderLayer.forward`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.graph.build import Builder
from g4compile.graph.edit import replace
from g4compile.graph.stage import op_name
from g4compile.ops.rms_norm import RMSNorm
from g4compile.ops.schema import DOMAIN
from g4compile.passes.base import expect


@dataclass(frozen=True)
class FuseNormAdditions:
    """``sums``: how many are fused, or None."""

    name: ClassVar[str] = "fuse-norm-additions"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)

    sums: int | None = None

    def apply(self, model: ir.Model) -> None:
        found = 0
        for site in RMSNorm.all_in(model.graph):
            added = _only_reader(site.y, "Add")
            if added is not None and site.scale is not None and _fuse(site, added):
                found += 1
        expect(self.name, "sums behind norms", found, self.sums, "no other norm is read by one Add of its shape")


def _only_reader(value: ir.Value, op: str) -> ir.Node | None:
    """The node of type ``op`` that alone reads ``value``."""
    readers = [node for node, _ in value.uses()]
    alone = len(readers) == 1 and not value.is_graph_output()
    return readers[0] if alone and op_name(readers[0]) == op else None


def _fuse(site: RMSNorm, added: ir.Node) -> bool:
    residual = next((value for value in added.inputs if value is not site.y), None)
    if residual is None or residual.shape != site.x.shape:
        return False
    last, scalar = added, None
    scaled = _only_reader(added.outputs[0], "Mul")
    if scaled is not None:
        factor = next((value for value in scaled.inputs if value is not added.outputs[0]), None)
        if factor is not None and factor.shape == ir.Shape([1]):
            last, scalar = scaled, factor
    operands = [site.x, site.scale, residual, *([scalar] if scalar is not None else [])]
    node = ir.node("NormAdd", operands, {"epsilon": site.epsilon}, domain=DOMAIN)
    node.outputs[0].type, node.outputs[0].shape = residual.type, residual.shape
    build = Builder(last)
    replace(last.outputs[0], *build.insert(node))
    for gone in (last, added, site.node) if last is not added else (added, site.node):
        build.graph.remove(gone, safe=True)
    return True
