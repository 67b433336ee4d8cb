"""Where does a graph start to differ from Hugging Face? Run it at every stage, and print the difference of each.

    python examples/compare_stages.py [CHECKPOINT]

All stages compute the same logits, so a pass that leads to the first stage that does not is wrong. Without a checkpoint
a tiny one with random weights is made. A real one is held in float32 twice: 8 bytes per parameter.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx_ir as ir

from g4compile import pipeline
from g4compile.compare.parity import Meter, Parity
from g4compile.compare.reference import Reference
from g4compile.compare.stages import StageRunner
from g4compile.program import Program, bind
from g4compile.synth.checkpoint import synthesize
from g4compile.targets import target_named
from g4compile.trace.trace import trace
from g4compile.weights.checkpoint import Checkpoint


def compare(checkpoint: Checkpoint, model: ir.Model, tokens: int = 24) -> dict[str, Parity]:
    """The parity of each stage on random ids. ``model``: the [traced] graph, weights bound; then the legal one."""
    ids = np.random.default_rng(0).integers(0, checkpoint.facts.text.vocab_size, (1, tokens))
    expected = Reference(checkpoint.folder).forward(ids)
    parities: dict[str, Parity] = {}

    def measure(stage: str) -> None:
        meter = Meter()
        meter.add(expected, StageRunner(model.clone(), checkpoint.facts).forward(ids))
        parities[stage] = meter.result()
        largest, agreed = parities[stage].max_abs_difference, parities[stage].top1_agreement
        print(f"{stage:16}{model.graph.num_nodes():6} nodes   largest difference {largest:.1e}   top-1 {agreed:.2%}")

    measure("traced")
    target = target_named("onnx-cpu")
    options = target.options()
    for phase in target.phases(checkpoint.facts.text, options, target.variants(checkpoint.facts, options)[0]):
        pipeline.run(model, [phase])
        measure(phase.stage)
    return parities


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        if not sys.argv[1:]:
            synthesize("tiny-e2b", Path(name, "checkpoint"))
        source = Checkpoint.open(sys.argv[1] if sys.argv[1:] else Path(name, "checkpoint"))
        program = Program.decoder(trace(source.facts), source.facts)
        bind(program, source)
        compare(source, program.parts["decoder"].model)
