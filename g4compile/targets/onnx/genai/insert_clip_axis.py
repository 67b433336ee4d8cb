"""insert-clip-axis: a sound comes with an axis of clips in front, of which there is one.

Before:                                       After:
    input_features [frames, 128]                  input_features [1, frames, 128]
    ... = f (input_features)                      rows = Squeeze (input_features, 0)
                                                  ... = f (rows)

Source: onnxruntime-genai, `src/models/gemma4_multimodal_processor.cpp`, which takes one clip a prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import MatchError
from g4compile.graph.axes import sizes_of
from g4compile.graph.build import Builder

_FEATURES = "input_features"


@dataclass(frozen=True)
class InsertClipAxis:
    name: ClassVar[str] = "insert-clip-axis"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)

    def apply(self, model: ir.Model) -> None:
        graph = model.graph
        if [value.name for value in graph.inputs] != [_FEATURES] or len(sizes_of(graph.inputs[0])) != 2:
            raise MatchError(f"the graph does not read {_FEATURES} [frames, n] alone", where=self.name)
        features = graph.inputs[0]
        readers, sizes = list(features.uses()), sizes_of(features)
        build = Builder(graph[0])
        features.shape = ir.Shape([1, *sizes])
        rows = build.op("Squeeze", features, build.constant([0]))
        rows.shape = ir.Shape(sizes)
        for node, index in readers:
            node.replace_input_with(index, rows)
