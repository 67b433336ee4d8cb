"""schedule-kv-cache: where keys and values live between steps.

Before:                                        After, a full layer (a buffer of fixed capacity, written in place):
    k = g4.CacheUpdate (new, past)                 at = Gather (position_ids, 0)
    present = k                                    k  = TensorScatter (past, new, at);  present = k
                                               After, a sliding layer (recent keys only):
                                                   k = Concat (past, new);  present = Slice (k, -keep, end)
                                               or, with a ring of slots, written round and round in place:
                                                   k = TensorScatter <circular> (past, new, at mod ring)

A full layer's past is `[B, K, capacity, D]`: what lies behind the written part is masked by position. Past and
present are one buffer when the runtime binds them so. A sliding layer keeps `window - 1` tokens, which is all
the next step can see, and `rewind` more, so that as many can be taken back. Keys that shared layers read are
the full `k`, not the cut one. In a ring, position p is in slot p mod ring: `g4.WindowedMask`, which takes the last key for
the newest, becomes `g4.RingMask`. What a ring holds beyond the window is what one step can write, and what can be taken back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import MatchError
from g4compile.graph import edit
from g4compile.graph.stage import describe, op_name
from g4compile.ops.insert import insert_op
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
        found = 0
        for node in list(model.graph):
            if node.op_type == "CacheUpdate":
                windows = {
                    reader.attributes["window"].as_int()
                    for reader in node.outputs[0].consumers()
                    if reader.op_type == "DualRopeAttention"
                }
                if len(windows) != 1:
                    raise MatchError(
                        f"the attentions that read {describe(node)} have the windows {sorted(windows)}, not one",
                        where=self.name,
                    )
                self._place(model.graph, node, positions, windows.pop())
                found += 1
        expect(self.name, "KV caches", found, self.caches, "no g4.CacheUpdate is left")

    def _place(self, graph: ir.Graph, node: ir.Node, positions: ir.Value, window: int) -> None:
        new, past = node.inputs
        assert new is not None and past is not None and past.shape is not None
        insert = edit.Inserter(node)
        batch, heads, _, width = past.shape
        output = node.outputs[0]
        if window and self.ring:
            if self.ring < window:
                raise MatchError(f"a ring of {self.ring} slots cannot hold a window of {window}", where=describe(node))
            past.shape = ir.Shape([batch, heads, self.ring, width])
            first = insert.op("Gather", [positions, insert.constant(0)], {"axis": 1}, shape=[batch])
            at = insert.op("Mod", [first, insert.constant(self.ring)], shape=[batch])
            keys = kept = self._scatter(insert, past, new, at, "circular")
            _mask_ring(output)
        elif window:
            keys = insert.op("Concat", [past, new], {"axis": 2}, shape=list(output.shape or ()))
            keep = window - 1 + self.rewind
            kept = insert.op(
                "Slice",
                [keys, insert.constant([-keep]), insert.constant([_END]), insert.constant([2])],
                shape=[batch, heads, "kept_sliding", width],
            )
        else:
            past.shape = ir.Shape([batch, heads, "capacity", width])
            at = insert.op("Gather", [positions, insert.constant(0)], {"axis": 1}, shape=[batch])
            keys = kept = self._scatter(insert, past, new, at, "linear")
        if output.is_graph_output():
            kept.name, output.name = output.name, None
            graph.outputs[graph.outputs.index(output)] = kept
        output.replace_all_uses_with(keys)
        graph.remove(node, safe=True)

    def _scatter(self, insert: edit.Inserter, past: ir.Value, new: ir.Value, at: ir.Value, mode: str) -> ir.Value:
        assert past.shape is not None
        return insert.op("TensorScatter", [past, new, at], {"axis": 2, "mode": mode}, shape=list(past.shape))


def _mask_ring(keys: ir.Value) -> None:
    """Masks over ``keys`` become those of a ring. They keep their place, behind the keys they read."""
    for mask in keys.consumers():
        if op_name(mask) == "g4.WindowedMask":
            insert = edit.Inserter(mask)
            positions, _ = mask.inputs
            assert positions is not None
            (ring,) = insert_op(insert, "RingMask", [positions, keys], {"window": mask.attributes["window"].as_int()})
            edit.replace(mask.outputs[0], ring)
            assert isinstance(mask.graph, ir.Graph)
            mask.graph.remove(mask, safe=True)
