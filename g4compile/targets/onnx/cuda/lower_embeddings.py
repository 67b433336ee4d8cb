"""lower-embeddings: lookups, and the inputs that each layer gets beside the residual stream, are ops of libg4cuda.

Before:                                           After:
    a    = Equal (input_ids, 1002)                    x    = g4.EmbedRows <placeholders = [1002], pad = 0, scale = 8>
    ids  = Where (a, 0, input_ids)                               (input_ids, table)
    r    = Gather (table, ids)
    x    = Mul (r, 8)

    r    = Mul (Gather (per_layer, ids), 2.8)         rows = g4.EmbedRowsNarrow <.., scale = 2.8> (input_ids, per_layer)
    p    = Mul (projected, 0.125)                     y    = g4.PerLayerInputs <projection_scale = 0.125, scale = 0.7>
    n    = g4.RMSNorm (Reshape (p), weight)                      (projected, rows, weight)
    y    = Mul (Add (n, Reshape (r)), 0.7)

EmbedRows begins the residual stream and is float32; what PerLayerInputs reads is bfloat16. Both multiply a row with the
scale in float32; the second then rounds once. A table has one copy, whoever else reads it.
Source: transformers `Gemma4TextScaledWordEmbedding`, `Gemma4TextModel.project_per_layer_inputs`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import MatchError
from g4compile.graph.axes import sizes_of, static_size
from g4compile.graph.build import Builder
from g4compile.graph.edit import constant_array, replace
from g4compile.graph.match import Any_, Miss, Node, Number, match
from g4compile.graph.stage import op_name
from g4compile.ops.rms_norm import RMSNorm
from g4compile.passes.base import expect
from g4compile.targets.fused.operands import NARROW, WIDE, insert, leading, narrow, weight

_IDS = "input_ids"
_PROJECTED = Node("Reshape", Node("Mul", Any_("projected"), Number("projection_scale")), Any_("sizes"))
_NORMED = Node(RMSNorm, _PROJECTED, Any_("weight"), name="norm")
_INPUTS = Node("Mul", Node("Add", _NORMED, Node("Reshape", Any_("rows"), Any_("sizes_of_rows"))), Number("scale"))
_SCALED = Node("Mul", Any_("lookup"), Number("scale"))
_PLACEHOLDER = Node("Equal", Any_("ids"), Number("id"))


@dataclass(frozen=True)
class LowerEmbeddings:
    """``tables``: how many are looked up by token ids; None accepts any number."""

    name: ClassVar[str] = "lower-embeddings"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)
    tables: int | None = None

    def apply(self, model: ir.Model) -> None:
        ids = next((value for value in model.graph.inputs if value.name == _IDS), None)
        if ids is None:
            raise MatchError(f"the graph has no input {_IDS}", where=self.name)
        inputs = [self._per_layer(node) for node in list(model.graph) if node.op_type == "Mul"]
        narrow_rows = {rows for rows in inputs if rows is not None}
        found, nearest = 0, "no lookup by token ids is left"
        for node in list(model.graph):
            if op_name(node) != "Gather" or node.attributes["axis"].as_int() != 0 or node.inputs[1] is None:
                continue
            places = _placeholders(node.inputs[1], ids)
            if places is None:
                nearest = f"{node.inputs[1].name} is not computed from {_IDS} by placeholders alone"
            else:
                self._look_up(node, ids, places, narrow_rows)
                found += 1
        expect(self.name, "tables of token ids", found, self.tables, nearest)

    def _per_layer(self, node: ir.Node) -> ir.Value | None:
        """Put one op in the place of what ends at ``node``; the rows that it reads."""
        out = node.outputs[0]
        result = match(_INPUTS, out)
        if isinstance(result, Miss):
            return None
        projected, rows, sizes = result["projected"], result["rows"], sizes_of(out)
        (made,) = insert(
            Builder(node),
            "PerLayerInputs",
            [projected, rows, narrow(result["weight"], self.name)],
            [(NARROW, sizes)],
            projection_scale=result["projection_scale"],
            scale=result["scale"],
            epsilon=RMSNorm(result["norm"]).epsilon,
        )
        replace(out, made)
        return rows if isinstance(rows, ir.Value) else None

    def _look_up(
        self, gather: ir.Node, ids: ir.Value, places: tuple[list[int], int], narrow_rows: set[ir.Value]
    ) -> None:
        out = gather.outputs[0]
        table, scale, last = gather.inputs[0], 1.0, out
        readers = [node for node, _ in out.uses()]
        if len(readers) == 1 and not isinstance(scaled := match(_SCALED, readers[0].outputs[0]), Miss):
            scale, last = scaled["scale"], readers[0].outputs[0]
        is_narrow = last in narrow_rows
        assert table is not None  # a Gather has two operands
        stored = weight(table, self.name)
        (made,) = insert(
            Builder(gather),
            "EmbedRowsNarrow" if is_narrow else "EmbedRows",
            [ids, stored.stored, stored.scales],
            [(NARROW if is_narrow else WIDE, [*leading(last), static_size(last, -1)])],
            placeholders=ir.AttrInt64s("placeholders", places[0]),
            pad=places[1],
            scale=scale,
            width=static_size(last, -1),
            **stored.format,
        )
        replace(last, made)


def _placeholders(value: ir.Value, ids: ir.Value) -> tuple[list[int], int] | None:
    """The ids that are looked up as another, and that one (0 where there are none), when ``value`` is ``ids``
    otherwise; else None."""
    if value is ids:
        return [], 0
    node = value.producer()
    if node is None or op_name(node) != "Where" or node.inputs[2] is not ids:
        return None
    pad, found, pending = constant_array(node.inputs[1]), list[int](), [node.inputs[0]]
    if pad is None or pad.size != 1:
        return None
    while pending:
        condition = pending.pop()
        either = condition.producer() if condition is not None else None
        if either is not None and op_name(either) == "Or":
            pending += either.inputs
            continue
        equal = match(_PLACEHOLDER, condition) if condition is not None else Miss(0, "")
        if isinstance(equal, Miss) or equal["ids"] is not ids:
            return None
        found.append(int(equal["id"]))
    return sorted(found), int(pad.reshape(()))
