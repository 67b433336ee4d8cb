"""Where the time of a decoded token goes, and what a prefill costs that computes every layer for all positions.

    python benchmarks/token_parts.py BUNDLE [--cache FOLDER] [--threads 2]

BUNDLE is one that `e2b.py` left in its folder; FOLDER its cache of rearranged weights, where its kernels are those of
ONNX Runtime. Prints one JSON object: milliseconds by op and part of the model, from ONNX Runtime's profile behind 512
tokens; and tokens/s of a prefill of 512 whose logits are asked for at all positions, so that no layer is left out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from ort_profile import last_nodes

from g4compile.runtime.session import load

PROMPT, REPEATS, PROFILED = 512, 5, 5
PARTS = ("self_attn", "mlp", "per_layer", "lm_head", "experts", "router")


def ids() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 1000, (1, PROMPT))


def all_positions(bundle: Path, cache: Path | None, threads: int) -> float:
    session, found = load(bundle, threads=threads, cache=cache), []
    for _ in range(REPEATS + 1):
        session.reset()
        start = time.perf_counter()
        session.forward(ids(), all_positions=True)
        found.append(time.perf_counter() - start)
    return PROMPT / statistics.median(found[1:])


def token_parts(bundle: Path, cache: Path | None, threads: int) -> dict[str, float]:
    """Milliseconds of a decoded token, the largest first."""
    with tempfile.TemporaryDirectory() as folder:
        session = load(bundle, threads=threads, cache=cache, profile=Path(folder) / "profile")
        session.forward(ids())
        for _ in range(PROFILED + 4):
            session.forward([5])
        events = last_nodes(Path(session.end_profiling()), PROFILED)
    spent: Counter[str] = Counter()
    for event in events:
        part = next((name for name in PARTS if name in event["name"]), "other")
        spent[f"{event['args']['op_name']} {part}"] += event["dur"] / 1e3 / PROFILED
    return {name: round(value, 3) for name, value in spent.most_common(12)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    bundle = given.bundle, given.cache, given.threads
    found = {
        "decode_ms_by_part": token_parts(*bundle),
        "prefill_all_positions_tokens_per_second": all_positions(*bundle),
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
