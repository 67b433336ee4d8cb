"""lower-to-plugins: ops of kernels of ours read operands in the dtypes that kernels take, and say how many sequences
and tokens of each their launches are for.

Before:                                          After (sequences = 3, tokens = 16):
    y, v = g4.NormProduct (h, p, ...)                h1 = Cast <float> (h)
                                                     p1 = Cast <bfloat16> (p)
                                                     y, v = g4.NormProduct <most = [3, 16]> (h1, p1, ...)

Around these ops the graph computes in the dtypes that `lower-to-bfloat16` chose. The residual stream and the shares of
experts are float32, all other activations bfloat16; weights are stored as kernels read them already. Which kernels run
is decided when a network is made, so for numbers that change from run to run the most decides.
Source: `docs/design/0010-onnx-cuda.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.graph.build import Builder
from g4compile.ops.schema import DOMAIN
from g4compile.passes.base import expect
from g4compile.targets.fused.operands import NARROW, WIDE

MOST = "most"  # attribute of a node
_READ_WIDE = {  # op -> its activations in float32
    "ExpertSum": (4,),
    "NormLogits": (0,),
    "NormProduct": (0,),
    "Product": (),
    "RoutedDown": (),
    "RoutedGateUp": (),
    "Router": (0,),
}
OPS = tuple(_READ_WIDE)


@dataclass(frozen=True)
class LowerToPlugins:
    """``sequences`` and ``tokens`` of each: most of a run. ``ops``: how many are of kernels of ours; None accepts any
    number."""

    name: ClassVar[str] = "lower-to-plugins"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)
    sequences: int = 1
    tokens: int = 1
    ops: int | None = None

    def apply(self, model: ir.Model) -> None:
        found = [node for node in model.graph if node.domain == DOMAIN and node.op_type in OPS]
        for node in found:
            build = Builder(node)
            for place, value in enumerate(node.inputs):
                if value is not None and value.dtype in (WIDE, NARROW):
                    dtype = WIDE if place in _READ_WIDE[node.op_type] else NARROW
                    node.replace_input_with(place, build.cast(value, dtype))
            node.attributes[MOST] = ir.AttrInt64s(MOST, [self.sequences, self.tokens])
        expect(self.name, "ops of kernels", len(found), self.ops, "no other op has a plan")
