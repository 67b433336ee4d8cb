"""A pass of one's own, run alone on a graph in text form: a product with 1 is its other operand.

    g4compile inspect CHECKPOINT --graph canonical > graph.onnxtxt
    python examples/write_a_pass.py [graph.onnxtxt]

Without a graph a small one is used. A pass of the compiler stands in `g4compile/passes/`, in a file of its name.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import onnx_ir as ir

from g4compile.graph import edit
from g4compile.graph.match import Any_, Miss, Node, Number, match
from g4compile.graph.text import to_text
from g4compile.passes.canonicalize_dead_code import CanonicalizeDeadCode
from g4compile.pipeline import run_alone
from g4compile.weights.text import parse_graph

EXAMPLE = """
<ir_version: 11, opset_import: ["" : 24, "g4" : 1], metadata_props: ["g4.stage": "canonical"]>
decoder (float[batch,new,64] x) => (float[batch,new,64] y)
  <float one = {1.0}, float[batch,new,64] scaled>
{
  ["layers.0/Mul"] scaled = Mul (x, one)
  ["layers.0.mlp/GeGLU"] y = g4.GeGLU (scaled, x)
}
"""


@dataclass(frozen=True)
class CanonicalizeUnitScale:
    """Readers of ``Mul (x, 1)`` read ``x``. A graph's output keeps its node: outputs have names of their own."""

    name: ClassVar[str] = "canonicalize-unit-scale"
    stages: ClassVar[tuple[str, ...]] = ("traced", "canonical", "fused", "scheduled", "quantized")

    def apply(self, model: ir.Model) -> None:
        for node in model.graph:
            found = match(Node("Mul", Any_("x"), Number(value=1.0)), node.outputs[0])
            if not isinstance(found, Miss) and not node.outputs[0].is_graph_output():
                edit.replace(node.outputs[0], found["x"])


def run(source: str) -> str:
    """``source`` after the pass, and after the one that removes what nothing reads. The ops are checked after each."""
    model = parse_graph(source)
    run_alone(model, [CanonicalizeUnitScale(), CanonicalizeDeadCode()])
    return to_text(model)


if __name__ == "__main__":
    print(run(Path(sys.argv[1]).read_text(encoding="utf-8") if sys.argv[1:] else EXAMPLE))
