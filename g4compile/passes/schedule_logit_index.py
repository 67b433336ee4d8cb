"""schedule-logit-index: an input names the positions that have logits, where a number of them was counted before.

Before (`num_logits_to_keep`, K):                   After (`logit_index` [B, K, 1]):
    x' = Slice (x, -K, end)         [B, K, 64]          x' = GatherND <batch_dims = 1> (x, logit_index)
    m' = Slice (m, -K, end)      [B, 1, K, 99]          m' = Unsqueeze (GatherND (Squeeze (m), logit_index))

The host computes no size then, sequences may keep different positions, and a graph has the inputs that
`schedule-logit-positions` gives to one of kernels. Caches of full layers get a fixed number of slots. Source: onnx
`GatherND`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import MatchError
from g4compile.graph import edit
from g4compile.graph.axes import resize, sizes_of
from g4compile.graph.build import Builder
from g4compile.graph.edit import constant_array
from g4compile.graph.stage import describe
from g4compile.passes.base import expect
from g4compile.passes.schedule_shared_tail import KEEP

INDEX = "logit_index"
_CAPACITY = "capacity"
_BY_TOKEN, _BY_HEAD = 1, 2  # axes of tokens: of activations, and of masks behind their axis of heads


@dataclass(frozen=True)
class ScheduleLogitIndex:
    """``cuts``: values that are cut to some positions, or None. ``slots`` of full layers' caches; 0 leaves them
    free."""

    name: ClassVar[str] = "schedule-logit-index"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)
    cuts: int | None = None
    slots: int = 0

    def apply(self, model: ir.Model) -> None:
        graph = model.graph
        keep = next((value for value in graph.inputs if value.name == KEEP), None)
        if keep is None:
            raise MatchError(f"the graph has no input {KEEP}: schedule-shared-tail makes it", where=self.name)
        cuts = keep_indexed(graph, keep, self.name)
        expect(self.name, "values cut to positions with logits", cuts, self.cuts, f"{KEEP} is not read")
        if self.slots:
            _fix_slots(graph, self.slots)


def keep_indexed(graph: ir.Graph, keep: ir.Value, where: str) -> int:
    """Put `logit_index` in the place of the input ``keep``; how many values were cut by it. ``where``: the pass that
    does so. Raises MatchError for a cut of another kind."""
    index = ir.Value(name=INDEX, shape=ir.Shape(["batch", "kept", 1]), type=ir.TensorType(ir.DataType.INT64))
    counts = keep.consumers()
    starts = [node for count in counts for node in count.outputs[0].consumers()]
    cuts = [node for start in starts for node in start.outputs[0].consumers()]
    for cut in cuts:
        edit.replace(cut.outputs[0], _at(cut, index, where))
    graph.remove([*cuts, *starts, *counts], safe=True)
    graph.inputs[list(graph.inputs).index(keep)] = index
    return len(cuts)


def _at(cut: ir.Node, index: ir.Value, where: str) -> ir.Value:
    """What ``cut`` gives, of the positions ``index``."""
    whole, axes, build = cut.inputs[0], constant_array(cut.inputs[3]), Builder(cut)
    rank = len(sizes_of(whole))
    axis = int(axes[0]) % rank if axes is not None and axes.size == 1 else None
    if axis == _BY_TOKEN:
        return build.op("GatherND", whole, index, batch_dims=1)
    if axis == _BY_HEAD and sizes_of(whole)[1] == 1:
        heads = build.constant([1])
        rows = build.op("GatherND", build.op("Squeeze", whole, heads), index, batch_dims=1)
        return build.op("Unsqueeze", rows, heads)
    raise MatchError(f"{describe(cut)} does not cut tokens behind sequences, or behind one head", where=where)


def _fix_slots(graph: ir.Graph, slots: int) -> None:
    for value in (*graph.inputs, *(value for node in graph for value in node.outputs)):
        for axis, size in enumerate(value.shape or ()):
            if str(size) == _CAPACITY:
                resize(value, axis, slots)
