"""schedule-shared-tail: behind the last producer's keys and values, compute only the positions asked for.

Before:                                     After (`num_logits_to_keep` is a new input, K):
    k, v   = ... x ...                          k, v   = ... x ...            (all positions)
    y      = attention (x, k, v)                x'     = Slice (x, -K, end)
    logits = g4.Linear (mlp (y), head)          y      = attention (x', k, v)
                                                logits = g4.Linear (mlp (y), head)   (the last K positions)

A backward analysis decides for each value whether all its positions are needed or only the kept ones: logits
need the kept ones, KV outputs need all, and an op that is not known to act on each token alone needs all of its
operands. Where a value is computed for all but read for the kept ones, one Slice is put between. In E2B that
leaves 70% of the decoder's weights to see one position a prefill, in E4B 42%, elsewhere the last layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import MatchError
from g4compile.graph.axes import resize
from g4compile.graph.build import Builder
from g4compile.ops.linear import Linear
from g4compile.passes.base import expect
from g4compile.passes.token_axis import operand_axes, token_axes

KEEP = "num_logits_to_keep"
_END = 2**63 - 1


@dataclass(frozen=True)
class ScheduleSharedTail:
    """``linears``: products that must see kept positions only, at least; None accepts any number."""

    name: ClassVar[str] = "schedule-shared-tail"
    stages: ClassVar[tuple[str, ...]] = ("fused",)
    linears: int | None = None

    def apply(self, model: ir.Model) -> None:
        graph = model.graph
        logits = next((value for value in graph.outputs if value.name == "logits"), None)
        if logits is None:
            raise MatchError("the graph has no output logits", where=self.name)
        axes = token_axes(graph)
        whole = _whole_values(graph, logits, axes)
        keep = ir.Value(name=KEEP, shape=ir.Shape([]), type=ir.TensorType(ir.DataType.INT64))
        graph.inputs.append(keep)
        tail = [node for node in graph if node.outputs[0] in axes and not any(value in whole for value in node.outputs)]
        self._cut(graph, tail, whole, axes, keep)
        found = sum(Linear.matches(node) for node in tail)
        expect(
            self.name,
            "products on kept positions",
            found,
            self.linears,
            "an op on the way from the logits needs all positions",
        )

    def _cut(
        self, graph: ir.Graph, tail: list[ir.Node], whole: set[ir.Value], axes: dict[ir.Value, int], keep: ir.Value
    ) -> None:
        starts: ir.Value | None = None
        cut: dict[ir.Value, ir.Value] = {}
        for node in tail:
            wanted = operand_axes(node, axes)
            for index, axis in wanted.items():
                value = node.inputs[index]
                if value is None or value not in whole:
                    continue
                if value not in cut:
                    build = Builder(node)
                    if starts is None:
                        negated = build.op("Sub", build.constant(0), keep)
                        starts = build.op("Unsqueeze", negated, build.constant([0]))
                    bounds = [build.constant([_END]), build.constant([axis])]
                    cut[value] = build.op("Slice", value, starts, *bounds)
                    cut[value].shape = value.shape
                    resize(cut[value], axis, "kept")
                node.replace_input_with(index, cut[value])
            for output in node.outputs:
                if output.shape is not None and output in axes:
                    resize(output, axes[output], "kept")


def _whole_values(graph: ir.Graph, logits: ir.Value, axes: dict[ir.Value, int]) -> set[ir.Value]:
    """Values of which all positions are needed: graph inputs, KV, and what those are computed from."""
    whole = {value for value in graph.outputs if value is not logits} | set(graph.inputs)
    for node in reversed(list(graph)):
        if any(value in whole for value in node.outputs):
            whole.update(value for value in node.inputs if value is not None)
            continue
        by_token = operand_axes(node, axes)
        whole.update(value for index, value in enumerate(node.inputs) if value is not None and index not in by_token)
    return whole
