"""fuse-layer-gates: the gate of per-layer inputs and the choice of its layer are one op of libg4ops.

Before:                                               After:
    own = Gather <axis = -2> (per_layer_inputs, 3)        y = g4.LayerGate <layer = 3> (gate, per_layer_inputs)
    y   = g4.GeGLU (gate, own)

A layer that something else reads too stays, and so does its gate.
Source: `native/README.md`; transformers `Gemma4TextDecoderLayer.forward`, `per_layer_input_gate`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.graph.build import Builder
from g4compile.graph.edit import constant_array
from g4compile.graph.stage import op_name
from g4compile.ops.geglu import GeGLU
from g4compile.ops.schema import DOMAIN
from g4compile.passes.base import expect

_LAYER_AXES = (2, -2)  # of [B, S, L, D]


@dataclass(frozen=True)
class FuseLayerGates:
    """``gates``: how many are fused, or None."""

    name: ClassVar[str] = "fuse-layer-gates"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)

    gates: int | None = None

    def apply(self, model: ir.Model) -> None:
        found = 0
        for site in GeGLU.all_in(model.graph):
            chosen = site.up.producer()
            layer = None if chosen is None else _layer_of(chosen)
            if chosen is not None and layer is not None and len(site.up.uses()) == 1:
                node = ir.node("LayerGate", [site.gate, chosen.inputs[0]], {"layer": layer}, domain=DOMAIN)
                node.outputs[0].type, node.outputs[0].shape = site.y.type, site.y.shape
                site.replace_by(*Builder(site.node).insert(node))
                model.graph.remove(chosen, safe=True)
                found += 1
        expect(self.name, "gates", found, self.gates, "no other gate reads one layer of all inputs")


def _layer_of(node: ir.Node) -> int | None:
    """The layer that ``node`` takes of all per-layer inputs, when it does that."""
    if op_name(node) != "Gather" or node.attributes["axis"].as_int() not in _LAYER_AXES:
        return None
    table, index = node.inputs
    layer = constant_array(index)
    if table is None or table.shape is None or len(table.shape) != 4 or layer is None or layer.ndim:
        return None
    return int(layer) if layer >= 0 else None
