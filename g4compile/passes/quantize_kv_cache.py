"""quantize-kv-cache: keys and values are kept in fewer bits: as bfloat16, or as 8-bit codes with a scale per token and
head.

Before, a sliding layer:             After, `dtype=int8`:
    k = Concat (past, new)               codes, scales = g4.QuantizeKV (new)
    present = Slice (k, ...)             c = Concat (past, codes);           present = Slice (c, ...)
    ... (k)                              s = Concat (past_scale, scales);    present_scale = Slice (s, ...)
                                         k = g4.DequantizeKV (c, s)
                                         ... (k)
                                     After, `dtype=bfloat16`:
                                         c = Concat (past, Cast (new));      present = Slice (c, ...)
                                         ... (Cast (c))

A TensorScatter, of a full layer or a ring, is changed in the same way. Readers see what is kept, the newest tokens
included, so that nothing depends on how a prompt is cut into steps. Inputs `past_key_values.N.key_scale` and outputs
`present.N.key_scale` stand beside those of the codes, and so for values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.bundle.kv import BFLOAT16, INT8, PAST
from g4compile.errors import InputError, MatchError
from g4compile.graph.axes import sizes_of
from g4compile.graph.build import Builder
from g4compile.graph.stage import describe
from g4compile.ops.dequantize_kv import DequantizeKV
from g4compile.ops.quantize_kv import QuantizeKV
from g4compile.passes.base import expect

_SCALE = "_scale"
_KEPT = {INT8: ir.DataType.INT8, BFLOAT16: ir.DataType.BFLOAT16}


@dataclass(frozen=True)
class QuantizeKVCache:
    """``dtype``: int8, codes with scales, or bfloat16. ``caches``: how many K and V the model writes, or None."""

    name: ClassVar[str] = "quantize-kv-cache"
    stages: ClassVar[tuple[str, ...]] = ("scheduled",)
    dtype: str = INT8
    caches: int | None = None

    def apply(self, model: ir.Model) -> None:
        if self.dtype not in _KEPT:
            raise InputError(f"keys and values are not kept as {self.dtype}", fix=f"dtypes: {', '.join(_KEPT)}")
        found = 0
        for past in [value for value in model.graph.inputs if str(value.name).startswith(PAST)]:
            nodes = list(past.consumers())
            if len(nodes) != 1 or nodes[0].op_type not in ("Concat", "TensorScatter"):
                readers = ", ".join(describe(node) for node in nodes) or "nothing"
                raise MatchError(
                    f"{past.name} is read by {readers}, not by the one node that adds new tokens", where=self.name
                )
            _keep(model.graph, past, nodes[0], _KEPT[self.dtype])
            found += 1
        expect(self.name, "KV caches", found, self.caches, f"no other input is named {PAST}N.key or .value")


def _keep(graph: ir.Graph, past: ir.Value, node: ir.Node, dtype: ir.DataType) -> None:
    """Let ``node``, which adds new tokens to ``past``, add them in ``dtype``; its readers read numbers again."""
    build = Builder(node)
    new, *position = node.inputs[1:]
    past.type = ir.TensorType(dtype)
    added = _rounded(build, new, dtype)
    pasts = [past, *(_scales_of(graph, past) for _ in added[1:])]
    old = node.outputs[0]
    attributes = {name: attribute.value for name, attribute in node.attributes.items()}
    whole = []
    for kept, one in zip(pasts, added, strict=True):
        joined = build.op(node.op_type, kept, one, *position, **attributes)
        joined.shape = _with_width(old.shape, kept)
        whole.append(joined)
    read = build.cast(whole[0], ir.DataType.FLOAT) if len(whole) == 1 else DequantizeKV.insert(build, *whole)
    kept_ones = [old] if old.is_graph_output() else [node.outputs[0] for node in old.consumers() if _is_kept(node)]
    if len(kept_ones) != 1:
        raise MatchError(f"the graph gives back {len(kept_ones)} slices of {past.name}, not one", where=describe(node))
    present, outputs, replaced = kept_ones[0], whole, [node]
    cut = present.producer()
    if present is not old and cut is not None:
        replaced, outputs = [cut, node], []
        for one, kept in zip(whole, pasts, strict=True):
            sliced = build.op("Slice", one, *list(cut.inputs)[1:])
            sliced.shape = _with_width(present.shape, kept)
            outputs.append(sliced)
    _give(graph, present, outputs)
    old.replace_all_uses_with(read)
    graph.remove(replaced, safe=True)


def _rounded(build: Builder, new: ir.Value | None, dtype: ir.DataType) -> list[ir.Value]:
    """What is kept of ``new`` [B, K, S, D]: bfloat16 numbers, or int8 codes and their scales."""
    return QuantizeKV.insert_all(build, new) if dtype == _KEPT[INT8] else [build.op("Cast", new, to=int(dtype))]


def _scales_of(graph: ir.Graph, past: ir.Value) -> ir.Value:
    """The input for the scales of ``past``, which now stands behind it."""
    one = [*sizes_of(past)[:-1], 1]
    scales = ir.Value(name=f"{past.name}{_SCALE}", shape=ir.Shape(one), type=ir.TensorType(ir.DataType.FLOAT))
    graph.inputs.insert(graph.inputs.index(past) + 1, scales)
    return scales


def _with_width(shape: ir.Shape | None, like: ir.Value) -> ir.Shape | None:
    """``shape`` with the last size of ``like``."""
    return None if shape is None else ir.Shape([*list(shape)[:-1], sizes_of(like)[-1]])


def _is_kept(reader: ir.Node) -> bool:
    return reader.op_type == "Slice" and reader.outputs[0].is_graph_output()


def _give(graph: ir.Graph, present: ir.Value, outputs: list[ir.Value]) -> None:
    """The first output takes the place and name of ``present`` among the graph's, scales the place behind it."""
    name, present.name = str(present.name), None
    place = graph.outputs.index(present)
    graph.outputs[place : place + 1] = outputs
    for output, end in zip(outputs, ("", _SCALE), strict=False):
        output.name = f"{name}{end}"
