"""fuse-rounded-norms: a norm whose result is only read rounded to 8 bits is one op of libg4ops with that rounding.

Before:                                       After:
    n = g4.RMSNorm (x, weight)                    q = g4.NormQuantize (x, weight)
    q = g4.QuantizeActivations (n)                a = g4.QLinear (q, first weights)
    a = g4.QLinear (q, first weights)             b = g4.QLinear (q, second weights)
    b = g4.QLinear (q, second weights)

A product that reads the norm and rounds it itself reads q too. A norm that anything else reads stays.
Source: `native/README.md`; `native/LAYOUT.md` (packed activations).
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
from g4compile.targets.onnx.g4_products import rounds_activations

_PACKED = "g4.QuantizeActivations"
_SAME = ("K", "activation_block")


@dataclass(frozen=True)
class FuseRoundedNorms:
    """``norms``: how many are fused, or None."""

    name: ClassVar[str] = "fuse-rounded-norms"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)

    norms: int | None = None

    def apply(self, model: ir.Model) -> None:
        found = 0
        for site in RMSNorm.all_in(model.graph):
            readers = [node for node, _ in site.y.uses()]
            if site.scale is not None and not site.y.is_graph_output() and _round_alike(readers):
                _fuse(site, readers)
                found += 1
        expect(self.name, "norms", found, self.norms, "something else reads every other norm")


def _round_alike(readers: list[ir.Node]) -> bool:
    """Whether all ``readers`` round what they read to 8 bits, and in one way."""
    rounding = all(op_name(node) == _PACKED or (_takes_packed(node) and rounds_activations(node)) for node in readers)
    return rounding and len({tuple(node.attributes[name].as_int() for name in _SAME) for node in readers}) == 1


def _takes_packed(node: ir.Node) -> bool:
    return op_name(node) in ("g4.QLinear", "g4.QGeGLU")


def _fuse(site: RMSNorm, readers: list[ir.Node]) -> None:
    attributes = {name: readers[0].attributes[name].as_int() for name in _SAME}
    node = ir.node("NormQuantize", [site.x, site.scale], {**attributes, "epsilon": site.epsilon}, domain=DOMAIN)
    node.outputs[0].type = ir.TensorType(ir.DataType.UINT8)
    build = Builder(site.node)
    (packed,) = build.insert(node)
    for reader in readers:
        if op_name(reader) == _PACKED:
            replace(reader.outputs[0], packed)
            build.graph.remove(reader, safe=True)
        else:
            reader.replace_input_with(0, packed)
    site.remove()
