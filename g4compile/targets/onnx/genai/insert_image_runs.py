"""insert-image-runs: where the tokens of an image begin and end is computed from token ids, and no input.

Before:                                     After (`token_ids` int64 [B, S] is a new input):
    inputs block_starts, block_ends             image  = Equal (token_ids, 1002)
    ... = f (block_starts, block_ends)          run    = CumSum (1 where image changes)           a number for each run
                                                starts = ScatterElements <min> (place of each token, by its run)
                                                ends   = ScatterElements <max> (..)
                                                block_ends = Where (image, ends of its run, own position)

Placeholders that stand beside each other are one image's. All tokens of an image must be in one call. An input that the
graph does not have is not made. Source: transformers `masking_utils.py`, `blockwise_overlay`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.bundle.requires import BLOCK_BOUNDS
from g4compile.errors import MatchError
from g4compile.targets.onnx.genai.steps import END, Step

TOKEN_IDS = "token_ids"  # as long as `input_ids` is the name of those that are looked up
_REDUCTIONS = dict(zip(BLOCK_BOUNDS, ("min", "max"), strict=True))


@dataclass(frozen=True)
class InsertImageRuns:
    """``image``: the token that stands for each row of an image's features."""

    name: ClassVar[str] = "insert-image-runs"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)
    image: int = 0

    def apply(self, model: ir.Model) -> None:
        graph = model.graph
        bounds = [value for value in graph.inputs if value.name in BLOCK_BOUNDS]
        if not bounds:
            raise MatchError(f"the graph reads none of {', '.join(BLOCK_BOUNDS)}", where=self.name)
        step = Step.of(graph, self.name)
        ids = ir.Value(name=TOKEN_IDS, shape=ir.Shape(["batch", "new"]), type=ir.TensorType(ir.DataType.INT64))
        graph.inputs.append(ids)
        build = step.build
        image = build.op("Equal", ids, build.constant(self.image))
        runs = _runs(image, step)
        sizes = build.op("Concat", step.batch, step.new, axis=0)
        index = build.op("Expand", step.counted(step.new), sizes)
        own = build.op("Add", step.first, index)
        for bound in bounds:
            reduction = _REDUCTIONS[str(bound.name)]
            begin = build.op("Expand", step.new if reduction == "min" else build.constant([0]), sizes)
            of_run = build.op("ScatterElements", begin, runs, index, axis=1, reduction=reduction)
            found = build.op("Add", step.first, build.op("GatherElements", of_run, runs, axis=1))
            made = build.op("Where", image, found, own)
            made.shape = bound.shape
            bound.replace_all_uses_with(made)
            graph.inputs.remove(bound)


def _runs(image: ir.Value, step: Step) -> ir.Value:
    """int64 [B, S]: how often ``image`` [B, S] has changed before and at each token of a row."""
    build = step.build
    flags = build.cast(image, ir.DataType.INT64)
    zero, one, end, last = (build.constant([number]) for number in (0, 1, END, -1))
    behind, before = build.op("Slice", flags, one, end, one), build.op("Slice", flags, zero, last, one)
    changes = build.op("Abs", build.op("Sub", behind, before))
    first = build.op("Expand", zero, build.op("Concat", step.batch, one, axis=0))
    return build.op("CumSum", build.op("Concat", first, changes, axis=1), build.constant(1))
