"""How decoding slows down with the context, on E2B at its real size: only by its full-attention layers.

    python benchmarks/context.py WORK [--weights int4] [--kernels g4ops] [--threads 2] [--contexts 1024,16384]

WORK holds the checkpoint and bundle of `e2b.py`. Prints one JSON object: for each context the milliseconds of a
decoded token by part, from ONNX Runtime's profile; then what grew, beside the bytes by which `plan` says that reading
keys and values grows, and the read limit measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from limits import built, limits
from ort_profile import last_nodes

from g4compile.model.config import FULL, load_config, model_facts
from g4compile.planning.plan import plan
from g4compile.runtime.session import Session, load
from g4compile.targets.onnx.kernels import kernels_for

STEPS = 8
OPS = ("Attention", "CacheWrite", "Concat", "Slice", "TensorScatter")  # of attention and caches, with either kernels


def decode(session: Session, context: int) -> float:
    """Milliseconds of a decoded token behind ``context`` tokens, the median of some steps."""
    session.reset()
    session.forward(np.random.default_rng(0).integers(0, 1000, (1, context - 1)))
    seconds = []
    for _ in range(STEPS + 1):
        start = time.perf_counter()
        session.forward([5])
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:]) * 1e3


def parts(profile: Path, full: set[int]) -> dict[str, float]:
    """Milliseconds of one of the last steps, by attention of full and of sliding layers, and all else."""
    spent: Counter[str] = Counter()
    for event in last_nodes(profile, STEPS):
        layer = re.match(r"layers\.(\d+)\.self_attn/", event["name"])
        name = "all else"
        if layer and event["args"]["op_name"] in OPS:
            name = ("full" if int(layer[1]) in full else "sliding") + " attention"
        spent[name] += event["dur"] / 1e3 / STEPS
    return {name: round(value, 2) for name, value in sorted(spent.items())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--weights", default="int4")
    parser.add_argument("--kernels", default=kernels_for("int4", None))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--contexts", default="1024,16384")
    options = parser.parse_args()
    name, checkpoint = f"{options.weights}-{options.kernels}", options.work / "checkpoint"
    bundle, cache = options.work / name, options.work / f"{name}-cache"
    contexts = [int(text) for text in options.contexts.split(",")]
    full = {layer.index for layer in model_facts(load_config(checkpoint)).text.layers if layer.kind == FULL}
    found: dict[str, Any] = {}
    reads = []
    for context in contexts:
        session = load(bundle, threads=options.threads, cache=cache)
        timed = decode(session, context)
        profiled = load(bundle, threads=options.threads, cache=cache, profile=options.work / "profile")
        decode(profiled, context)
        found[str(context)] = {"decode_ms": round(timed, 2), **parts(Path(profiled.end_profiling()), full)}
        reads.append(plan(checkpoint, weights=options.weights, context=context).decode_kv_bytes)
    first, last = found[str(contexts[0])], found[str(contexts[-1])]
    limit = limits(built(options.work / "limits", "limits"), options.threads).read
    found["growth"] = {
        "decode_ms": round(last["decode_ms"] - first["decode_ms"], 2),
        **{name: round(last[name] - first[name], 2) for name in last if name != "decode_ms"},
        "planned_read_bytes": reads[-1] - reads[0],
        "planned_ms_at_limit": round((reads[-1] - reads[0]) / limit * 1e3, 2),
        "read_limit": limit,
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
