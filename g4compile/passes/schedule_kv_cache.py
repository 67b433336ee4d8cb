"""schedule-kv-cache: where keys and values live between steps.

Before:                                        After, a full layer (a buffer of fixed capacity, written in place):
    k = g4.CacheUpdate (new, past)                 at = Gather (position_ids, 0)
    present = k                                    k  = TensorScatter (past, new, at);  present = k
                                               After, a sliding layer (recent keys only):
                                                   k = Concat (past, new);  present = Slice (k, -keep, end)
                                               or, with a ring of slots, written round and round in place:
                                                   k = TensorScatter <circular> (past, new, at mod ring)

A full layer's past is `[B, K, capacity, D]`: what lies behind the written part is masked by position. Past and present
are one buffer when the runtime binds them so. A sliding layer keeps `window - 1` tokens, which is all the next step can
see, and `rewind` more, so that as many can be taken back. Keys that shared layers read are the full `k`, not the cut
one. In a ring, position p is in slot p mod ring: `g4.WindowedMask`, which takes the last key for the newest, becomes
`g4.RingMask`, and `g4.BlockMask` `g4.RingBlockMask`. What a ring holds beyond the window is what one step can write,
and what can be taken back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import MatchError
from g4compile.graph.axes import resize
from g4compile.graph.build import Builder
from g4compile.graph.stage import describe
from g4compile.ops.block_mask import BlockMask
from g4compile.ops.cache_update import CacheUpdate
from g4compile.ops.dual_rope_attention import DualRopeAttention
from g4compile.ops.registry import view
from g4compile.ops.ring_block_mask import RingBlockMask
from g4compile.ops.ring_mask import RingMask
from g4compile.ops.windowed_mask import WindowedMask
from g4compile.passes.base import expect

_END = 2**63 - 1


@dataclass(frozen=True)
class ScheduleKVCache:
    """``rewind``: tokens a windowed cache can take back. ``caches``: how many K and V the model writes, or None.

    ``ring``: slots of a windowed cache that is written in place; 0 moves the window instead."""

    name: ClassVar[str] = "schedule-kv-cache"
    stages: ClassVar[tuple[str, ...]] = ("fused",)
    rewind: int = 16
    caches: int | None = None
    ring: int = 0

    def apply(self, model: ir.Model) -> None:
        positions = next((value for value in model.graph.inputs if value.name == "position_ids"), None)
        if positions is None:
            raise MatchError("the graph has no input position_ids to place keys by", where=self.name)
        sites, placed = CacheUpdate.all_in(model.graph), list[ir.Value]()
        for site in sites:
            readers = site.all.consumers()
            windows = {DualRopeAttention(one).window for one in readers if DualRopeAttention.matches(one)}
            if len(windows) != 1:
                raise MatchError(
                    f"the attentions that read {describe(site.node)} have the windows {sorted(windows)}, not one",
                    where=self.name,
                )
            placed.append(self._place(model.graph, site, positions, windows.pop()))
        _infer_readers(model.graph, placed)
        expect(self.name, "KV caches", len(sites), self.caches, f"no {CacheUpdate.name()} is left")

    def _place(self, graph: ir.Graph, site: CacheUpdate, positions: ir.Value, window: int) -> ir.Value:
        """The keys (or values) that readers see."""
        new, past, output, build = site.new, site.past, site.all, Builder(site.node)
        if window and self.ring:
            if self.ring < window:
                raise MatchError(
                    f"a ring of {self.ring} slots cannot hold a window of {window}", where=describe(site.node)
                )
            resize(past, 2, self.ring)
            first = build.op("Gather", positions, build.constant(0), axis=1)
            at = build.op("Mod", first, build.constant(self.ring))
            keys = kept = build.op("TensorScatter", past, new, at, axis=2, mode="circular")
            _mask_ring(output)
        elif window:
            keys = build.op("Concat", past, new, axis=2)
            keys.shape = output.shape
            bounds = [build.constant([bound]) for bound in (1 - window - self.rewind, _END, 2)]
            kept = build.op("Slice", keys, *bounds)
            resize(kept, 2, "kept_sliding")
        else:
            resize(past, 2, "capacity")
            at = build.op("Gather", positions, build.constant(0), axis=1)
            keys = kept = build.op("TensorScatter", past, new, at, axis=2, mode="linear")
        if output.is_graph_output():
            kept.name, output.name = output.name, None
            graph.outputs[graph.outputs.index(output)] = kept
        output.replace_all_uses_with(keys)
        site.remove()
        return keys


def _infer_readers(graph: ir.Graph, placed: list[ir.Value]) -> None:
    """Masks and attention see as many keys as the caches have now."""
    readers = {reader for keys in placed for reader in keys.consumers()}
    for node in graph:
        op = view(node) if node in readers else None
        if op is not None:
            op.infer()


def _mask_ring(keys: ir.Value) -> None:
    """Masks over ``keys`` become those of a ring. They keep their place, behind the keys they read."""
    for reader in keys.consumers():
        if WindowedMask.matches(reader):
            mask = WindowedMask(reader)
            mask.replace_by(RingMask.insert(Builder(reader), mask.position_ids, keys, window=mask.window))
        elif BlockMask.matches(reader):
            seen = BlockMask(reader)
            places = seen.position_ids, seen.block_starts, seen.block_ends
            seen.replace_by(RingBlockMask.insert(Builder(reader), *places, keys, window=seen.window))
