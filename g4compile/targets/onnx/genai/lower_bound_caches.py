"""lower-bound-caches: caches are buffers that a runtime binds as past and as present, however long a call is.

Before (a full layer, a buffer):                     After:
    k = TensorScatter (past, new, at);  present = k      present = TensorScatter (past, new, at)
                                                         k = Slice (present, 0, tokens so far)

Before (a sliding layer, recent keys):               After (C slots, position p in slot p modulo C):
    k = Concat (past, new)                               recent = Gather (past, slots of the window before the call)
    present = Slice (k, -keep, end)                      k = Concat (recent, new)
                                                         last = Gather (k, the last real tokens, at most C)
                                                         present = TensorScatter <circular> (past, last, at)

Readers see the keys that they saw before, in the same order. What is written comes from k, and so is written behind
all that is read: both buffers are one. C is the runtime's to choose, a window or more. Rows of a batch may have unequal
numbers of tokens (`steps.py`): positions are counted on from each row's first one, through the filling too.
Source: onnxruntime-genai, `src/models/io/shared_kv_cache.cpp`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import MatchError
from g4compile.graph.axes import resize, sizes_of, static_size
from g4compile.graph.build import Builder
from g4compile.graph.edit import constant_array, replace
from g4compile.graph.stage import describe, op_name
from g4compile.passes.base import expect
from g4compile.targets.onnx.genai.steps import POSITIONS, Step

_PRESENT = "present."
_CAPACITY, _SEEN = "capacity", "seen"  # names of sizes
_SLOTS, _RECENT, _LAST = "slots", "recent", "last"
_TOKENS = 2  # the axis of them in [B, K, T, D]


@dataclass(frozen=True)
class LowerBoundCaches:
    """``caches``: how many keys and values the model writes, or None. ``window``: tokens that a query of a sliding
    layer sees, its own included; 0 where there is no such layer."""

    name: ClassVar[str] = "lower-bound-caches"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)
    caches: int | None = None
    window: int = 0

    def apply(self, model: ir.Model) -> None:
        step = _ascending(model.graph, self.name)
        rings, placed, nearest = _Rings(step, self.window), list[ir.Value](), f"no output is called {_PRESENT}N"
        for present in list(model.graph.outputs):
            node = present.producer()
            if node is None or not str(present.name).startswith(_PRESENT):
                continue
            if op_name(node) == "TensorScatter":
                placed.append(_buffer(node, step))
            elif op_name(node) == "Slice":
                placed.append(rings.place(node))
            else:
                nearest = f"{describe(node)} writes no cache"
        _resize_readers(model.graph)
        expect(self.name, "keys and values", len(placed), self.caches, nearest)


def _ascending(graph: ir.Graph, where: str) -> Step:
    """The values of a step; what read `position_ids` reads ascending positions now, in every row to its end."""
    given = {value.name: list(value.uses()) for value in graph.inputs}
    step = Step.of(graph, where)
    places = step.build.op("Add", step.first, step.counted(step.new))
    places.shape = ir.Shape(["batch", "new"])
    for node, index in given[POSITIONS]:
        node.replace_input_with(index, places)
    return step


def _buffer(scatter: ir.Node, step: Step) -> ir.Value:
    """A full layer's keys as far as they are written, in the place of the whole buffer where it is read."""
    present = scatter.outputs[0]
    readers = list(present.uses())
    if not readers:
        raise MatchError(f"nothing reads {present.name}", where=describe(scatter))
    build = Builder(readers[0][0])
    written = step.build.op("Add", step.most, step.new)
    seen = build.op("Slice", present, build.constant([0]), written, build.constant([_TOKENS]))
    seen.shape = ir.Shape(sizes_of(present))
    resize(seen, _TOKENS, _SEEN)
    for node, index in readers:
        node.replace_input_with(index, seen)
    return seen


def _resize_readers(graph: ir.Graph) -> None:
    """What was computed of whole buffers, masks above all, is of the keys that are seen."""
    for value in (value for node in graph if op_name(node) != "TensorScatter" for value in node.outputs):
        for axis, size in enumerate(value.shape or ()):
            if str(size) == _CAPACITY:
                resize(value, axis, _SEEN)


@dataclass
class _Rings:
    """Buffers that are written round and round. Slots are computed once for all layers of as many heads."""

    step: Step
    window: int
    slots: dict[int, tuple[ir.Value, ir.Value, ir.Value]] = field(default_factory=dict)

    def place(self, cut: ir.Node) -> ir.Value:
        """Write a buffer where ``cut`` keeps recent keys; the keys that are read."""
        keys, joined, past, new = self._joined(cut)
        resize(past, _TOKENS, _SLOTS)
        heads = static_size(past, 1)
        if heads not in self.slots:
            self.slots[heads] = self._slots(past, heads)
        read, written, at = self.slots[heads]
        build = Builder(joined)
        recent = _picked(past, read, _RECENT, build)
        whole = build.op("Concat", recent, new, axis=_TOKENS)
        whole.shape = keys.shape
        build = Builder(cut)
        last = _picked(whole, written, _LAST, build)
        replace(cut.outputs[0], build.op("TensorScatter", past, last, at, axis=_TOKENS, mode="circular"))
        build.graph.remove(cut, safe=True)
        replace(keys, whole)
        build.graph.remove(joined, safe=True)
        return whole

    def _joined(self, cut: ir.Node) -> tuple[ir.Value, ir.Node, ir.Value, ir.Value]:
        """What ``cut`` cuts, the node that joins past and new keys, and these."""
        keys, kept = cut.inputs[0], constant_array(cut.inputs[1])
        joined = keys.producer() if keys is not None else None
        if keys is None or joined is None or op_name(joined) != "Concat" or len(joined.inputs) != 2 or kept is None:
            raise MatchError(f"{describe(cut)} does not cut keys that are joined", where=LowerBoundCaches.name)
        past, new = joined.inputs
        if past is None or new is None or not past.is_graph_input():
            raise MatchError(f"{describe(joined)} does not join a cache and new keys", where=LowerBoundCaches.name)
        if not 1 <= self.window <= 1 - int(kept.item()):
            raise MatchError(
                f"a window of {self.window} needs {self.window - 1} tokens before a call, and {-int(kept.item())} are "
                "kept",
                where=describe(cut),
            )
        return keys, joined, past, new

    def _slots(self, past: ir.Value, heads: int) -> tuple[ir.Value, ir.Value, ir.Value]:
        """Rows of a buffer, seen as rows of D numbers, that are read [B, K, recent]; rows of the joined keys that are
        written [B, K, last]; the slot of the first of these [B]."""
        step, build = self.step, self.step.build
        size = build.op("Shape", past, start=_TOKENS, end=_TOKENS + 1)
        before = build.op("Min", step.most, build.constant([self.window - 1]))
        oldest = build.op("Sub", step.first, before)
        slots = build.op("Mod", build.op("Add", oldest, step.counted(before)), size)
        count = build.op("Min", step.new, size)
        start = build.op("Sub", step.real, count)  # of the new tokens; below 0 among those before them
        places = build.op("Add", build.op("Add", start, before), step.counted(count))
        places = build.op("Max", places, build.constant([0]))  # what is older than a window is not read again
        at = build.op("Mod", build.op("Add", step.first, start), size)
        return (
            self._rows(slots, size, heads),
            self._rows(places, build.op("Add", before, step.new), heads),
            build.op("Squeeze", at, build.constant([1])),
        )

    def _rows(self, places: ir.Value, size: ir.Value, heads: int) -> ir.Value:
        """``places`` [B, T] of ``size`` in each head, as rows [B, K, T] of all heads of all sequences."""
        build = self.step.build
        blocks = self.step.counted(build.op("Mul", self.step.batch, build.constant([heads])))
        starts = build.op("Reshape", build.op("Mul", blocks, size), build.constant([-1, heads, 1]))
        return build.op("Add", starts, build.op("Unsqueeze", places, build.constant([1])))


def _picked(cache: ir.Value, rows: ir.Value, name: str, build: Builder) -> ir.Value:
    """The rows of ``cache`` [B, K, T, D] that ``rows`` [B, K, N] says, [B, K, N, D]; ``name`` is that of N."""
    flat = build.op("Reshape", cache, build.constant([-1, static_size(cache, -1)]))
    picked = build.op("Gather", flat, rows, axis=0)
    batch, heads, _, width = sizes_of(cache)
    picked.shape = ir.Shape([batch, heads, name, width])
    return picked
