"""schedule-step: sizes of one kind of step become fixed, for targets that compile a program for each.

Before (tokens = 16, keep = one):                       After (`logit_index` [B, 1, 1]):
    x  = ...                    [batch, new, 64]            x  = ...                      [batch, 16, 64]
    x' = Slice (x, -num_logits_to_keep, end)                x' = GatherND <batch_dims = 1> (x, logit_index)
    logits = ...  (x')          [batch, kept, 1024]         logits = ... (x')             [batch, 1, 1024]

`keep = one` computes the position that an input names behind the shared tail's cut, as `schedule-logit-index` does: the
last token of a step that is filled up is not its last position. `keep = all` computes every one (what checks a
drafter's tokens needs), and reads no such input. Sizes given as 0 stay dynamic. The input `num_logits_to_keep` is gone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import InputError, MatchError
from g4compile.graph import edit
from g4compile.passes.schedule_logit_index import keep_indexed
from g4compile.passes.schedule_shared_tail import KEEP

ONE, ALL = "one", "all"


@dataclass(frozen=True)
class ScheduleStep:
    """``tokens`` new ones a step, sequences a ``batch``, slots of full caches (``capacity``); 0 leaves a size
    dynamic."""

    name: ClassVar[str] = "schedule-step"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)
    tokens: int = 0
    keep: str = ALL
    batch: int = 0
    capacity: int = 0

    def apply(self, model: ir.Model) -> None:
        graph = model.graph
        if self.keep not in (ONE, ALL):
            raise InputError(f"a step keeps no {self.keep} positions", where=self.name, fix=f"keep = {ONE} or {ALL}")
        keep = next((value for value in graph.inputs if value.name == KEEP), None)
        if keep is None:
            raise MatchError(f"the graph has no input {KEEP}: schedule-shared-tail makes it", where=self.name)
        if self.keep == ONE:
            keep_indexed(graph, keep, self.name)
        else:
            _keep_all(graph, keep)
        kept: int | str = (self.tokens or "new") if self.keep == ALL else 1
        sizes = {"batch": self.batch, "new": self.tokens, "capacity": self.capacity, "kept": kept}
        for value in _values(graph):
            if value.shape is not None:
                value.shape = ir.Shape([sizes.get(str(size)) or size for size in value.shape])


def _keep_all(graph: ir.Graph, keep: ir.Value) -> None:
    """Put what was cut in the place of its cut."""
    dead = []
    for negated in keep.consumers():
        dead.append(negated)
        for starts in negated.outputs[0].consumers():
            dead.append(starts)
            for cut in starts.outputs[0].consumers():
                whole = cut.inputs[0]
                assert whole is not None  # of a Slice
                edit.replace(cut.outputs[0], whole)
                dead.append(cut)
    graph.remove(dead, safe=True)
    graph.inputs.remove(keep)


def _values(graph: ir.Graph) -> list[ir.Value]:
    return [*graph.inputs, *(value for node in graph.all_nodes() for value in node.outputs)]
