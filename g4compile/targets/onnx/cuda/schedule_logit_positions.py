"""schedule-logit-positions: behind the last op that writes keys and values, compute only the positions asked for.

Before:                                              After (`logit_index` [B, K, 1] is a new input):
    y = g4.CachedAttention <writes = 1> (..)             y  = g4.CachedAttention <writes = 1> (..)
    ...                                                  y' = GatherND <batch_dims = 1> (y, logit_index)
    logits = g4.NormLogits (v, p, ..)                    logits = g4.NormLogits (v', p', ..)       [B, K, V]

All ops here act on each token alone, but for attention, which reads what others wrote. So what is computed for a node
that writes, in front of it, sees all positions, and every other node the ones asked for. Where the second kind reads
the first, or an input, one GatherND stands between. Source: onnx `GatherND`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import MatchError
from g4compile.graph.axes import resize
from g4compile.graph.build import Builder
from g4compile.graph.stage import op_name
from g4compile.passes.base import expect
from g4compile.passes.schedule_logit_index import INDEX

_NEW, _KEPT = "new", "kept"  # how many tokens a call adds, and how many have logits
_TOKENS = 1  # the axis of tokens


@dataclass(frozen=True)
class ScheduleLogitPositions:
    """``tail``: attentions behind the last that writes, or None for any number."""

    name: ClassVar[str] = "schedule-logit-positions"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)
    tail: int | None = None

    def apply(self, model: ir.Model) -> None:
        graph = model.graph
        writing = [node for node in graph if _is_attention(node) and node.attributes["writes"].as_int()]
        if not writing:
            raise MatchError("no node of the graph writes keys and values", where=self.name)
        whole = _before(writing)
        index = ir.Value(name=INDEX, shape=ir.Shape(["batch", _KEPT, 1]), type=ir.TensorType(ir.DataType.INT64))
        graph.inputs.append(index)
        cut: dict[ir.Value, ir.Value] = {}
        tail = [node for node in graph if node not in whole]
        for node in tail:
            for place, value in enumerate(node.inputs):
                if value is not None and _by_token(value) and (value.producer() in whole or value.is_graph_input()):
                    if value not in cut:
                        cut[value] = Builder(node).op("GatherND", value, index, batch_dims=1)
                    node.replace_input_with(place, cut[value])
            for value in node.outputs:
                if _by_token(value):
                    resize(value, _TOKENS, _KEPT)
        found = sum(_is_attention(node) for node in tail)
        expect(self.name, "attentions on the positions asked for", found, self.tail, "others write keys and values")


def _is_attention(node: ir.Node) -> bool:
    return op_name(node) == "g4.CachedAttention"


def _before(nodes: list[ir.Node]) -> set[ir.Node]:
    """``nodes``, and all that computes what they read."""
    found, pending = set[ir.Node](), list(nodes)
    while pending:
        node = pending.pop()
        if node not in found:
            found.add(node)
            pending += [one for value in node.inputs if value is not None and (one := value.producer()) is not None]
    return found


def _by_token(value: ir.Value) -> bool:
    """Whether ``value`` has a row for each new token of each sequence."""
    return value.shape is not None and len(value.shape) > _TOKENS and str(value.shape[_TOKENS]) == _NEW
