"""schedule-last-logits: logits of each row's last token alone, where a number of positions was asked for before.

Before (`num_logits_to_keep`, K):                   After:
    x' = Slice (x, -K, end)         [B, K, 64]          last = the number of real new tokens of each row, less 1
    ...                                                 x' = GatherND <batch_dims = 1> (x, last)    [B, 1, 64]
    logits = ...  (x')            [B, K, 1024]          logits = ...  (x')                        [B, 1, 1024]

onnxruntime-genai reads logits of one position where the graph says that there is one, and then of the last real token
of each row: filling stands behind it (`steps.py`). Source: onnxruntime-genai, `src/models/io/logits.cpp`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import MatchError
from g4compile.graph.axes import sizes_of
from g4compile.passes.base import expect
from g4compile.passes.schedule_logit_index import keep_indexed
from g4compile.passes.schedule_shared_tail import KEEP
from g4compile.targets.onnx.genai.steps import Step

_KEPT = "kept"


@dataclass(frozen=True)
class ScheduleLastLogits:
    """``cuts``: values that are cut to the positions asked for, or None."""

    name: ClassVar[str] = "schedule-last-logits"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)
    cuts: int | None = None

    def apply(self, model: ir.Model) -> None:
        graph = model.graph
        keep = next((value for value in graph.inputs if value.name == KEEP), None)
        if keep is None:
            raise MatchError(f"the graph has no input {KEEP}: schedule-shared-tail makes it", where=self.name)
        place = list(graph.inputs).index(keep)
        step = Step.of(graph, self.name)
        build = step.build
        last = build.op("Unsqueeze", build.op("Sub", step.real, build.constant(1)), build.constant([2]))
        cuts = keep_indexed(graph, keep, self.name)
        expect(self.name, "values cut to positions with logits", cuts, self.cuts, f"{KEEP} is not read")
        index = graph.inputs[place]
        index.replace_all_uses_with(last)
        graph.inputs.remove(index)
        for value in (*graph.outputs, *(value for node in graph for value in node.outputs)):
            if value.shape is not None and _KEPT in map(str, value.shape):
                value.shape = ir.Shape([1 if str(size) == _KEPT else size for size in sizes_of(value)])
