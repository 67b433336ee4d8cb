"""Products of one x that one kernel computes, with what is done to them: what `fuse-stream-products` puts in one node.

none      the products side by side           geglu    gelu_tanh (x w0^T) * (x w1^T)
softcap   cap * tanh (x w0^T / cap)           gate     gelu_tanh (x w0^T) * gate [.., layer, :]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from g4compile.graph.axes import static_size
from g4compile.graph.edit import constant_array
from g4compile.graph.match import Any_, Miss, Node, Number, match
from g4compile.graph.stage import op_name
from g4compile.ops.geglu import GeGLU
from g4compile.ops.linear import Linear
from g4compile.targets.fused.operands import same_format, weight

LOGITS = "logits"
_NONE, _GEGLU, _GATE, _SOFTCAP = "none", "geglu", "gate", "softcap"
_LAYER_AXES = (2, -2)  # of [B, S, L, D]
_CAPPED = Node("Mul", Node("Tanh", Node("Div", Any_("product"), Number("cap"))), Number("cap"))
_CHOSEN = Node("Gather", Any_("all"), Any_("layer"), name="gather")
_MOST = 3  # weights of a node


@dataclass(frozen=True)
class Group:
    """Products of one x, which give ``width`` numbers a row. ``weights`` are the operands w0, w1, w2, s0, s1, s2;
    ``out`` is what is computed of the products, as ``attributes`` say. ``gate``: the inputs of all layers, of which
    `gate` reads one."""

    weights: tuple[ir.Value | None, ...]
    out: ir.Value
    width: int
    attributes: dict[str, Any]
    gate: ir.Value | None = None

    @property
    def is_logits(self) -> bool:
        return self.out.is_graph_output() and self.out.name == LOGITS

    @property
    def is_plain(self) -> bool:
        """Whether nothing is done to the products, which no runtime reads."""
        return self.attributes["activation"] == _NONE and not self.is_logits

    @property
    def format(self) -> dict[str, Any]:
        """The attributes that say how the weights are stored."""
        return {name: self.attributes[name] for name in ("bits", "block")}


def groups(graph: ir.Graph, where: str) -> dict[ir.Node, Group]:
    """Each group of ``graph`` by the first of its products. Raises, for the pass ``where``, what `weight` does."""
    places = {node: place for place, node in enumerate(graph)}
    found: dict[ir.Node, Group] = {}
    inside: set[ir.Node] = set()
    for unit in GeGLU.all_in(graph):
        members, group = _unit(unit, where)
        if group is not None:
            found[min(members, key=lambda node: places[node])] = group
            inside.update(members)
    for product in Linear.all_in(graph):
        if product.node not in inside:
            found[product.node] = _single(product, graph, where)
    joined = (node for node in graph if op_name(node) == "g4.Product")
    return found | {node: _joined(node) for node in joined}


def side_by_side(products: Sequence[Linear], where: str) -> tuple[tuple[ir.Value | None, ...], dict[str, int]]:
    """The operands w0, w1, w2, s0, s1, s2 of a node that computes all ``products``, and the attributes of their format.
    Raises, for the pass ``where``, what `weight` and `same_format` do."""
    weights = [weight(one.weight, where) for one in products]
    missing = [None] * (_MOST - len(weights))
    operands = (*(one.stored for one in weights), *missing, *(one.scales for one in weights), *missing)
    return operands, same_format(weights, where)


def _unit(unit: GeGLU, where: str) -> tuple[list[ir.Node], Group | None]:
    """The products of a gated ``unit``, and the group that they are; None where it has no kernel."""
    gate, up, width = _alone(unit.gate), _alone(unit.up), static_size(unit.y, -1)
    if gate is not None and up is not None and gate.x is up.x:
        operands, format = side_by_side([gate, up], where)
        return [gate.node, up.node], Group(operands, unit.y, width, {"activation": _GEGLU, **format})
    chosen = match(_CHOSEN, unit.up)
    layer = None if isinstance(chosen, Miss) else _layer(chosen["gather"])
    if gate is None or isinstance(chosen, Miss) or layer is None:
        return [], None
    operands, format = side_by_side([gate], where)
    attributes = {"activation": _GATE, "layer": layer, **format}
    return [gate.node], Group(operands, unit.y, width, attributes, chosen["all"])


def _single(product: Linear, graph: ir.Graph, where: str) -> Group:
    """``product`` alone, with the cap of logits where it has one."""
    operands, format = side_by_side([product], where)
    width = static_size(product.y, -1)
    for out in graph.outputs:
        capped = match(_CAPPED, out)
        if not isinstance(capped, Miss) and capped["product"] is product.y:
            attributes = {"activation": _SOFTCAP, "cap": capped["cap"], **format}
            return Group(operands, out, width, attributes)
    return Group(operands, product.y, width, {"activation": _NONE, **format})


def _joined(node: ir.Node) -> Group:
    """A node of products that stand side by side already."""
    weights = node.inputs[1:]
    format = {name: node.attributes[name].as_int() for name in ("bits", "block")}
    missing = [None] * (2 * _MOST - len(weights))
    width = static_size(node.outputs[0], -1)
    return Group((*weights, *missing), node.outputs[0], width, {"activation": _NONE, **format})


def _alone(value: ir.Value) -> Linear | None:
    """The product that computes ``value`` for one reader alone."""
    return Linear.producing(value) if len(value.uses()) == 1 and not value.is_graph_output() else None


def _layer(gather: ir.Node) -> int | None:
    """The layer that ``gather`` takes of the inputs of all."""
    table, index = gather.inputs
    layer = constant_array(index)
    whole = table is not None and table.shape is not None and len(table.shape) == len("BSLD")
    if not whole or layer is None or layer.ndim or gather.attributes["axis"].as_int() not in _LAYER_AXES:
        return None
    return int(layer) if layer >= 0 else None
