"""Builds the engines of a published geometry, weights as network inputs, and prints what it took as JSON.

`python tests/targets/tensorrt/real_sizes.py PRESET [STEP ...]`: a process of its own, because memory is that of the process.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from g4compile.targets.tensorrt.engine import step_network

from g4compile import pipeline, presets
from g4compile.model.config import load_config, model_facts
from g4compile.targets.phases import frontend
from g4compile.targets.tensorrt.build import build_plan, make_builder
from g4compile.targets.tensorrt.product import MOST_DENSE, RTX
from g4compile.targets.tensorrt.steps import Capacities, steps
from g4compile.trace.apart import trace_apart
from g4compile.weights.checkpoint import Checkpoint


def main(preset: str, wanted: list[str]) -> None:
    start = time.perf_counter()
    facts = model_facts(load_config(preset), where=preset)
    capacities = Capacities(context=8192, batch=1, chunk=MOST_DENSE if facts.text.moe else 512)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(presets.config(preset)))
        model = trace_apart(Checkpoint(Path(folder), facts, {}))
    trt = RTX.load()
    pipeline.run(model, frontend(facts.text, 0, ring=capacities.ring(facts.text)))
    traced = time.perf_counter() - start
    builder, complaints = make_builder(trt)
    found = {"trace_s": traced, "steps": {}}
    for step in steps(capacities, "bfloat16", plugins=False):
        if step.name in wanted:
            one = None  # a network holds memory while it lives
            start = time.perf_counter()
            one = step_network(trt, builder, model, RTX.target, facts.text, step, capacities)
            emitted = time.perf_counter() - start
            plan = build_plan(trt, builder, complaints, one.network, RTX, step, capacities, (80,))
            found["steps"][step.name] = {
                "layers": one.network.num_layers,
                "emit_s": emitted,
                "build_s": time.perf_counter() - start - emitted,
                "plan_bytes": len(plan),
            }
    found["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:] or ["decode", "verify", "prefill"])
