"""What a call of onnxruntime-genai says of its tokens, as values of the graph: sizes, positions, which are real.

The runtime feeds `position_ids` int64 [B, S] and `attention_mask` int64 [B, T], of all tokens so far. Sequences of a
batch that are shorter than others are filled up behind: there the mask is 0, and so is the position. So a row's first
position says how many tokens it has, and the last S columns of the mask how many of the new ones are real.
Source: onnxruntime-genai, `src/models/io/default_position_inputs.cpp`.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from g4compile.errors import MatchError
from g4compile.graph.build import Builder

POSITIONS, MASK = "position_ids", "attention_mask"
END = 2**63 - 1


@dataclass(frozen=True)
class Step:
    """int64 values of one call. ``batch`` and ``new``: [1], B and S. ``first``: [B, 1], tokens that a row has before
    it. ``most``: [1], the most of these. ``real``: [B, 1], how many of a row's new tokens are no filling. ``build``
    makes more of them, behind these and in front of all else."""

    build: Builder
    batch: ir.Value
    new: ir.Value
    first: ir.Value
    most: ir.Value
    real: ir.Value

    @classmethod
    def of(cls, graph: ir.Graph, where: str) -> Step:
        """Those of ``graph``, whose input `attention_mask` is added where it is not there. Raises MatchError without
        `position_ids`, naming the pass ``where`` which it is."""
        positions = next((value for value in graph.inputs if value.name == POSITIONS), None)
        if positions is None:
            raise MatchError(f"the graph has no input {POSITIONS} to count tokens by", where=where)
        build = Builder(graph[0])
        zero, one, end = (build.constant([number]) for number in (0, 1, END))
        new = build.op("Shape", positions, start=1, end=2)
        first = build.op("Slice", positions, zero, one, one)
        latest = build.op("Slice", _mask(graph), build.op("Sub", zero, new), end, one)
        return cls(
            build=build,
            batch=build.op("Shape", positions, start=0, end=1),
            new=new,
            first=first,
            most=build.op("Reshape", build.op("ReduceMax", first, keepdims=0), one),
            real=build.op("ReduceSum", latest, one, keepdims=1),
        )

    def counted(self, size: ir.Value) -> ir.Value:
        """int64 [size]: 0, 1, ... for ``size`` [1]."""
        scalar = self.build.op("Squeeze", size, self.build.constant([0]))
        return self.build.op("Range", self.build.constant(0), scalar, self.build.constant(1))


def _mask(graph: ir.Graph) -> ir.Value:
    for value in graph.inputs:
        if value.name == MASK:
            return value
    made = ir.Value(name=MASK, shape=ir.Shape(["batch", "total"]), type=ir.TensorType(ir.DataType.INT64))
    graph.inputs.append(made)
    return made
