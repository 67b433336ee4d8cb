"""quantize-kv-cache: keys and values are kept as 8-bit codes, a scale per token and head.

Before, a sliding layer:             After:
    k = Concat (past, new)               codes, scales = g4.QuantizeKV (new)
    present = Slice (k, ...)             c = Concat (past, codes);           present = Slice (c, ...)
    ... (k)                              s = Concat (past_scale, scales);    present_scale = Slice (s, ...)
                                         k = g4.DequantizeKV (c, s)
                                         ... (k)

A full layer's TensorScatter is doubled in the same way. Readers see what the codes stand for, the newest tokens
included, so that nothing depends on how a prompt is cut into steps. Inputs `past_key_values.N.key_scale` and outputs
`present.N.key_scale` stand beside those of the codes, and so for values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import MatchError
from g4compile.graph.axes import sizes_of
from g4compile.graph.build import Builder
from g4compile.graph.stage import describe
from g4compile.ops.dequantize_kv import DequantizeKV
from g4compile.ops.quantize_kv import QuantizeKV
from g4compile.passes.base import expect

_PAST, _PRESENT, SCALE = "past_key_values.", "present.", "_scale"


@dataclass(frozen=True)
class QuantizeKVCache:
    """``caches``: how many K and V the model writes, or None."""

    name: ClassVar[str] = "quantize-kv-cache"
    stages: ClassVar[tuple[str, ...]] = ("scheduled",)
    caches: int | None = None

    def apply(self, model: ir.Model) -> None:
        found = 0
        for past in [value for value in model.graph.inputs if str(value.name).startswith(_PAST)]:
            nodes = list(past.consumers())
            if len(nodes) != 1 or nodes[0].op_type not in ("Concat", "TensorScatter"):
                readers = ", ".join(describe(node) for node in nodes) or "nothing"
                raise MatchError(
                    f"{past.name} is read by {readers}, not by the one node that adds new tokens", where=self.name
                )
            _double(model.graph, past, nodes[0])
            found += 1
        expect(self.name, "KV caches", found, self.caches, f"no other input is named {_PAST}N.key or .value")


def _double(graph: ir.Graph, past: ir.Value, node: ir.Node) -> None:
    build = Builder(node)
    new, *position = node.inputs[1:]
    codes, scales = QuantizeKV.insert_all(build, new)
    past.type = ir.TensorType(ir.DataType.INT8)
    one = [*sizes_of(past)[:-1], 1]
    past_scale = ir.Value(name=f"{past.name}{SCALE}", shape=ir.Shape(one), type=ir.TensorType(ir.DataType.FLOAT))
    graph.inputs.insert(graph.inputs.index(past) + 1, past_scale)
    old = node.outputs[0]
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    both = []
    for kept, added in ((past, codes), (past_scale, scales)):
        doubled = build.op(node.op_type, kept, added, *position, **attributes)
        doubled.shape = _with_width(old.shape, kept)
        both.append(doubled)
    keys = DequantizeKV.insert(build, *both)
    kept_ones = [old] if old.is_graph_output() else [node.outputs[0] for node in old.consumers() if _is_kept(node)]
    if len(kept_ones) != 1:
        raise MatchError(f"the graph gives back {len(kept_ones)} slices of {past.name}, not one", where=describe(node))
    present, outputs, replaced = kept_ones[0], both, [node]
    cut = present.producer()
    if present is not old and cut is not None:
        replaced, outputs = [cut, node], []
        for whole, kept in zip(both, (past, past_scale), strict=True):
            sliced = build.op("Slice", whole, *list(cut.inputs)[1:])
            sliced.shape = _with_width(present.shape, kept)
            outputs.append(sliced)
    _give(graph, present, outputs)
    old.replace_all_uses_with(keys)
    graph.remove(replaced, safe=True)


def _with_width(shape: ir.Shape | None, like: ir.Value) -> ir.Shape | None:
    """``shape`` with the last size of ``like``."""
    return None if shape is None else ir.Shape([*list(shape)[:-1], sizes_of(like)[-1]])


def _is_kept(reader: ir.Node) -> bool:
    return reader.op_type == "Slice" and reader.outputs[0].is_graph_output()


def _give(graph: ir.Graph, present: ir.Value, outputs: list[ir.Value]) -> None:
    """Codes take the place and name of ``present`` among the graph's outputs, scales the place behind it."""
    name, present.name = str(present.name), None
    place = graph.outputs.index(present)
    graph.outputs[place] = outputs[0]
    graph.outputs.insert(place + 1, outputs[1])
    outputs[0].name, outputs[1].name = name, f"{name}{SCALE}"
