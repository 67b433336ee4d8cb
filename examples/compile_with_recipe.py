"""Compile with a recipe of one's own, and verify the result: is it right, and what do fewer bits cost?

    python examples/compile_with_recipe.py [CHECKPOINT]

The first rule that matches a weight decides. A rule that matches no weight of the model is an error, so that a typing
error is found. Without a checkpoint a tiny one with random weights is made, on which few bits cost much.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import g4compile
from g4compile.compare.report import Report
from g4compile.planning.plan import plan
from g4compile.synth.checkpoint import synthesize

RECIPE = """
# module                weights  block  zero        activations  quantizer
layers.*.self_attn.*    int8     32     symmetric   int8         nearest
layers.*.mlp.*          int4     32     asymmetric  float32      search
*                       int8     128    symmetric   int8         nearest
"""


def compile_with(recipe: str, checkpoint: Path, work: Path) -> Report:
    """The report of `verify` on a bundle of ``checkpoint``, written into ``work``."""
    file = work / "own.txt"
    file.write_text(recipe, encoding="utf-8")
    bundle = g4compile.compile(checkpoint, "onnx-cpu", work / "bundle", weights=str(file))
    planned = plan(checkpoint, target="onnx-cpu", weights="float32").data_bytes
    print(f"bundle: {bundle.size / 1e6:,.1f} MB; in float32 the weights alone take {planned / 1e6:,.1f} MB")
    report = g4compile.verify(bundle, checkpoint)
    print(f"is the compiler right: {report.verdict}")
    print(f"what the recipe costs: {report.cost}")
    return report


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        if not sys.argv[1:]:
            synthesize("tiny-e2b", Path(name, "checkpoint"))
        report = compile_with(RECIPE, Path(sys.argv[1] if sys.argv[1:] else f"{name}/checkpoint"), Path(name))
    sys.exit(0 if report.passed else 1)
