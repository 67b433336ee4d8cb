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

`blocks` says in which layers the tokens of an image see each other: `sliding` ones, within the window (26B, 31B), or in
`all` (12B). The graph then reads the first and last position of the block that each token is in:

    local  = g4.BlockMask <window = 512> (position_ids, block_starts, block_ends, k0)     (sliding: position_ids twice)
    global = g4.CausalMask (block_ends, k1)                                               (sliding: position_ids)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.bundle.requires import BLOCK_BOUNDS
from g4compile.errors import InputError, MatchError
from g4compile.graph.axes import sizes_of
from g4compile.graph.build import Builder
from g4compile.graph.stage import describe
from g4compile.model.config import ALL_BLOCKS, SLIDING_BLOCKS
from g4compile.ops.block_mask import BlockMask
from g4compile.ops.causal_mask import CausalMask
from g4compile.ops.dual_rope_attention import DualRopeAttention
from g4compile.ops.windowed_mask import WindowedMask
from g4compile.passes.base import expect


@dataclass(frozen=True)
class InsertWindowedMasks:
    """``layers``: attentions the model has; None accepts any number. ``blocks``: see above; none where it is empty."""

    name: ClassVar[str] = "insert-windowed-masks"
    stages: ClassVar[tuple[str, ...]] = ("fused",)
    layers: int | None = None
    blocks: str = ""

    def apply(self, model: ir.Model) -> None:
        if self.blocks not in ("", SLIDING_BLOCKS, ALL_BLOCKS):
            raise InputError(f"there are no blocks {self.blocks}", fix=f"{SLIDING_BLOCKS} or {ALL_BLOCKS}")
        positions = next((value for value in model.graph.inputs if value.name == "position_ids"), None)
        if positions is None:
            raise MatchError("the graph has no input position_ids to build masks from", where=self.name)
        starts, ends = self._bounds(model.graph, positions)
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
                build, keys = Builder(attention.node), attention.key
                if window and self.blocks:
                    masks[window] = BlockMask.insert(build, positions, starts, ends, keys, window=window)
                elif window:
                    masks[window] = WindowedMask.insert(build, positions, keys, window=window)
                else:
                    seen = ends if self.blocks == ALL_BLOCKS else positions
                    masks[window] = CausalMask.insert(build, seen, keys)
            if length != lengths[window]:
                raise MatchError(
                    f"layers of window {window} have keys of lengths {lengths[window]} and {length}",
                    where=describe(attention.node),
                )
            attention.replace(mask=masks[window])
            found += 1
        expect(self.name, "attention layers", found, self.layers, nearest)

    def _bounds(self, graph: ir.Graph, positions: ir.Value) -> tuple[ir.Value, ir.Value]:
        """First and last position of the block of each token, as new inputs; ``positions`` where none is read."""
        made = [
            ir.Value(name=name, shape=positions.shape, type=positions.type)
            for name in {"": (), SLIDING_BLOCKS: BLOCK_BOUNDS[1:], ALL_BLOCKS: BLOCK_BOUNDS}[self.blocks]
        ]
        graph.inputs.extend(made)
        starts, ends = [positions, positions, *made][-2:]
        return starts, ends
