"""Time two bundles side by side: the same random prompt, prefill and decode, medians of several runs.

    python examples/time_backends.py [BUNDLE BUNDLE]

The runtime install is enough. Without bundles a tiny checkpoint is compiled in float32 and at 4 bits, which needs
g4compile[compile]; so small a model measures the overhead of a step, not the arithmetic.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import g4compile
from g4compile.runtime.measure import Timings, measure

ROWS = {
    "prefill, tokens/s": "prefill_tokens_per_second",
    "decode, tokens/s": "decode_tokens_per_second",
    "first token, s": "time_to_first_token_s",
    "load, s": "load_s",
}


def time_both(first: Path, second: Path, threads: int = 2, repeats: int = 5) -> list[Timings]:
    """The timings of both; printed as a table, with how many times faster the second one is."""
    found = [measure(bundle, threads=threads, repeats=repeats) for bundle in (first, second)]
    manifests = [g4compile.Bundle.open(bundle).manifest for bundle in (first, second)]
    names = [f"{manifest.target}, {manifest.weights}" for manifest in manifests]
    print(f"{'':20}{names[0]:>20}{names[1]:>20}{'second to first':>18}")
    for title, field in ROWS.items():
        one, two = (getattr(timings, field) for timings in found)
        print(f"{title:20}{one:20,.3f}{two:20,.3f}{two / one:17.2f}x")
    return found


def tiny_bundles(folder: Path) -> tuple[Path, Path]:
    """A random checkpoint, compiled in float32 and at 4 bits."""
    from g4compile.synth.checkpoint import synthesize

    synthesize("tiny-e2b", folder / "checkpoint")
    for weights in ("float32", "int4"):
        g4compile.compile(folder / "checkpoint", "onnx-cpu", folder / weights, weights=weights)
    return folder / "float32", folder / "int4"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        one, two = map(Path, sys.argv[1:3]) if sys.argv[1:] else tiny_bundles(Path(name))
        time_both(one, two)
