"""insert-patch-order: an image's patches come row by row and filled up, and are put in the order of tokens.

Before:                                        After:
    pixel_values       [patches, 768]              pixel_values       [1, N, 768]
    pixel_position_ids [patches, 2]                pixel_position_ids [1, N, 2]      (-1 behind the last patch)
    ... = f (pixel_values, pixel_position_ids)     real  = NonZero (column >= 0)
                                                   place = token * pool^2 + patch in the token
                                                   order = ScatterElements (real, by place)
                                                   ... = f (Gather (.., order), Gather (.., order))

The encoder reads the patches of a token behind each other, tokens row by row (`runtime/media/patches.py`). Where each
patch is a token, and sees no other (12B), the patches of several images may come at once, and only filling is dropped.
Source: onnxruntime-extensions, `shared/api/gemma4_image_processor.hpp`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import MatchError
from g4compile.graph.axes import static_size
from g4compile.graph.build import Builder

_PIXELS, _POSITIONS = "pixel_values", "pixel_position_ids"


@dataclass(frozen=True)
class InsertPatchOrder:
    """``pool``: patches of a side of what becomes one token; 0 where each patch is one, and sees no other."""

    name: ClassVar[str] = "insert-patch-order"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)
    pool: int = 0

    def apply(self, model: ir.Model) -> None:
        graph = model.graph
        inputs = {value.name: value for value in graph.inputs}
        if inputs.keys() != {_PIXELS, _POSITIONS}:
            raise MatchError(f"the graph does not read {_PIXELS} and {_POSITIONS} alone", where=self.name)
        readers = {name: list(value.uses()) for name, value in inputs.items()}
        build = Builder(graph[0])
        images = 1 if self.pool else "images"
        rows = {name: _flattened(value, images, build) for name, value in inputs.items()}
        order = self._order(rows[_POSITIONS], build)
        for name, value in inputs.items():
            ordered = build.op("Gather", rows[name], order, axis=0)
            ordered.shape = ir.Shape(["patches", static_size(value, -1)])
            for node, index in readers[name]:
                node.replace_input_with(index, ordered)

    def _order(self, positions: ir.Value, build: Builder) -> ir.Value:
        """int64 [patches]: which row of ``positions`` [N, 2] stands in each place."""
        pool, zero = build.constant(self.pool), build.constant([0])
        given = build.op("Gather", positions, build.constant(0), axis=1)
        real = build.op("NonZero", build.op("LessOrEqual", build.constant(0), given))
        real = build.op("Squeeze", real, zero)
        if not self.pool:
            return real
        column, row = (
            build.op("Gather", build.op("Gather", positions, build.constant(axis), axis=1), real, axis=0)
            for axis in (0, 1)
        )
        columns = build.op("Add", build.op("ReduceMax", column, keepdims=0), build.constant(1))
        token = build.op("Mul", build.op("Div", row, pool), build.op("Div", columns, pool))
        token = build.op("Add", token, build.op("Div", column, pool))
        inner = build.op("Add", build.op("Mul", build.op("Mod", row, pool), pool), build.op("Mod", column, pool))
        place = build.op("Add", build.op("Mul", token, build.constant(self.pool**2)), inner)
        return build.op("ScatterElements", real, place, real, axis=0)


def _flattened(value: ir.Value, images: int | str, build: Builder) -> ir.Value:
    """The input ``value`` [patches, D], which becomes [``images``, N, D], as rows of D numbers."""
    width = static_size(value, -1)
    value.shape = ir.Shape([images, "patches_and_filling", width])
    rows = build.op("Reshape", value, build.constant([-1, width]))
    rows.shape = ir.Shape(["rows", width])
    return rows
