"""Builds the engines of a published geometry, weights as network inputs, and prints what it took as JSON.

`python tests/targets/tensorrt/real_sizes.py PRESET [STEP ...]`: a process of its own, because memory is that of the
process.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from g4compile.model import presets
from g4compile.model.config import load_config, model_facts
from g4compile.program import Program
from g4compile.targets.lower import lower
from g4compile.targets.lowering.split import split_embedding
from g4compile.targets.tensorrt.build import EngineBuilder
from g4compile.targets.tensorrt.edition import MOST_DENSE, RTX
from g4compile.targets.tensorrt.steps import Capacities
from g4compile.targets.tensorrt.target import TENSORRT_RTX
from g4compile.trace.apart import trace_apart
from g4compile.weights.checkpoint import Checkpoint


def main(preset: str, wanted: list[str]) -> None:
    start = time.perf_counter()
    facts = model_facts(load_config(preset), where=preset)
    capacities = Capacities(context=8192, batch=1, chunk=MOST_DENSE if facts.text.moe else 512)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(presets.config(preset)))
        model = trace_apart(Checkpoint(Path(folder), facts, {}))
    target = TENSORRT_RTX
    options = target.options(
        context=capacities.context, chunk=capacities.chunk, batch=capacities.batch, compute_capabilities=(80,)
    )
    builder, kinds = EngineBuilder(RTX), {step.name: step for step in target.steps(options)}
    found: dict[str, Any] = {"trace_s": time.perf_counter() - start, "steps": {}}
    start = time.perf_counter()
    for lowered in lower(Program.decoder(model, facts), target, options):
        name = lowered.variant.name
        if name in wanted:
            one = None  # a network holds memory while it lives
            one = builder.network(split_embedding(lowered.model)["decoder"].graph)
            emitted = time.perf_counter() - start
            plan = builder.plan(one, name, [kinds[name].sizes(capacities.batch)], options.compute_capabilities)
            found["steps"][name] = {
                "layers": one.network.num_layers,
                "emit_s": emitted,
                "build_s": time.perf_counter() - start - emitted,
                "plan_bytes": len(plan),
            }
        start = time.perf_counter()
    found["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:] or ["decode", "verify", "prefill"])
