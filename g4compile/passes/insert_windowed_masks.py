"""insert-windowed-masks: masks from positions, built once a step for all layers of a kind.

Before:
    y0 = g4.DualRopeAttention:no_mask <window = 512> (q0, n0, c, s, k0, v0)
    y1 = g4.DualRopeAttention:no_mask <window = 0> (q1, n1, c, s, k1, v1)
After:
    local  = g4.WindowedMask <window = 512> (position_ids, k0)
    y0     = g4.DualRopeAttention <window = 512> (q0, n0, c, s, k0, v0, local)
    global = g4.CausalMask (position_ids, k1)
    y1     = g4.DualRopeAttention <window = 0> (q1, n1, c, s, k1, v1, global)

All layers of one window have keys of one length, so the first one's keys stand for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import MatchError
from g4compile.graph.axes import sizes_of
from g4compile.graph.build import Builder
from g4compile.graph.stage import describe
from g4compile.ops.causal_mask import CausalMask
from g4compile.ops.dual_rope_attention import DualRopeAttention
from g4compile.ops.windowed_mask import WindowedMask
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
        found, nearest = 0, f"no {DualRopeAttention.name()} is left"
        for attention in DualRopeAttention.all_in(model.graph):
            if attention.mask is not None:
                nearest = f"{describe(attention.node)} has a mask already"
                continue
            window, length = attention.window, sizes_of(attention.key)[2]
            if window not in masks:
                lengths[window] = length
                masks[window] = _mask(Builder(attention.node), positions, attention.key, window)
            if length != lengths[window]:
                raise MatchError(
                    f"layers of window {window} have keys of lengths {lengths[window]} and {length}",
                    where=describe(attention.node),
                )
            attention.replace(mask=masks[window])
            found += 1
        expect(self.name, "attention layers", found, self.layers, nearest)


def _mask(builder: Builder, positions: ir.Value, keys: ir.Value, window: int) -> ir.Value:
    if window:
        return WindowedMask.insert(builder, positions, keys, window=window)
    return CausalMask.insert(builder, positions, keys)
