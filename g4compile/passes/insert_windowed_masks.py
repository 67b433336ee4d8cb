"""insert-windowed-masks: masks from positions, built once a step for all layers of a kind.

Before:                                                     After:
    y0 = g4.DualRopeAttention:no_mask <window = 512>            local  = g4.WindowedMask <window = 512> (position_ids, k0)
             (q0, n0, c, s, k0, v0)                             y0     = g4.DualRopeAttention <window = 512> (..., k0, v0, local)
    y1 = g4.DualRopeAttention:no_mask <window = 0>              global = g4.CausalMask (position_ids, k1)
             (q1, n1, c, s, k1, v1)                             y1     = g4.DualRopeAttention <window = 0> (..., k1, v1, global)

All layers of one window have keys of one length, so the first one's keys stand for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import MatchError
from g4compile.graph import edit
from g4compile.graph.stage import describe
from g4compile.ops.insert import insert_op
from g4compile.passes.base import expect


@dataclass(frozen=True)
class InsertWindowedMasks:
    """``layers``: attentions the model has; None accepts any number."""

    name: ClassVar[str] = "insert-windowed-masks"
    stages: ClassVar[tuple[str, ...]] = ("fused",)
    layers: int | None = None

    def apply(self, model: ir.Model) -> None:
        positions = next((value for value in model.graph.inputs if value.name == "position_ids"), None)
        if positions is None:
            raise MatchError("the graph has no input position_ids to build masks from", where=self.name)
        masks: dict[int, ir.Value] = {}
        lengths: dict[int, object] = {}
        found, nearest = 0, "no g4.DualRopeAttention is left"
        for node in list(model.graph):
            if node.op_type != "DualRopeAttention":
                continue
            if len(node.inputs) > 6:
                nearest = f"{describe(node)} has a mask already"
                continue
            key = node.inputs[4]
            assert key is not None and key.shape is not None
            window = node.attributes["window"].as_int()
            insert = edit.Inserter(node)
            if window not in masks:
                lengths[window] = key.shape[2]
                masks[window] = (
                    insert_op(insert, "WindowedMask", [positions, key], {"window": window})[0]
                    if window
                    else insert_op(insert, "CausalMask", [positions, key])[0]
                )
            if key.shape[2] != lengths[window]:
                raise MatchError(
                    f"layers of window {window} have keys of lengths {lengths[window]} and {key.shape[2]}",
                    where=describe(node),
                )
            attributes = {name: attribute.value for name, attribute in node.attributes.items()}
            (out,) = insert_op(insert, "DualRopeAttention", [*node.inputs, masks[window]], attributes)  # type: ignore[list-item]  # all six operands are present
            edit.replace(node.outputs[0], out)
            model.graph.remove(node, safe=True)
            found += 1
        expect(self.name, "attention layers", found, self.layers, nearest)
