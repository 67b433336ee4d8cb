"""The reference case: E2B at its real size (random weights, text only), beside what the machine can do at most.

    python benchmarks/e2b.py WORK [--recipes int4-channel,int4,mobile] [--kernels g4ops,onnxruntime] [--threads 2]
        [--rounds 1] [--config FOLDER] [--json FILE] [--transformers] [--llama PYTHON] [--litert PYTHON]

WORK keeps the checkpoint (9.3 GB), bundles and caches, so that a second run only measures. Each recipe is measured with
the kernels that are named (default: libg4ops where it is installed), in a process of its own: `g4compile bench`. The
limits of the machine are measured right before and after. With several rounds everything is measured in turn, and
medians are shown. --config takes another geometry: a folder with a config.json. PYTHON is the interpreter that
`llama_cpp.py` or `litert_lm.py` wants, for their figures in the same run.

Shares: prefill counts the operations of the products that are computed, those of all positions and, once, those of the
shared tail, over time over the int8 limit. Decode counts the bytes that a token reads, codes, scales, norms and caches
at the lengths that were run, over time over the read limit.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import peers
from limits import Limits, built, limits, processor

from g4compile.model.config import load_config, model_facts
from g4compile.planning.plan import plan
from g4compile.targets.onnx.kernels import kernels_for

PROMPT, STEPS = 512, 32
Figures = dict[str, float]
SPEEDS = ("prefill_tokens_per_second", "decode_tokens_per_second")
# What is shown: figure, unit, digits.
SHOWN = {
    "load, s": ("load_s", 1, 2),
    "prefill, tokens/s": ("prefill_tokens_per_second", 1, 1),
    "% of int8 limit": ("prefill_share", 0.01, 1),
    "decode, tokens/s": ("decode_tokens_per_second", 1, 1),
    "% of read limit": ("decode_share", 0.01, 1),
    "resident, GB": ("resident_bytes", 1e9, 3),
    "anonymous, GB": ("anonymous_bytes", 1e9, 3),
    "above weights, GB": ("resident_above_weights_bytes", 1e9, 3),
    "peak, GB": ("peak_resident_bytes", 1e9, 3),
    "read, GB/s": ("read_limit", 1e9, 1),
    "int8, GOP/s": ("int8_limit", 1e9, 0),
}


def g4(*arguments: object) -> dict[str, Any]:
    """A verb's JSON, from a process of its own."""
    command = [sys.executable, "-m", "g4compile", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"g4compile {' '.join(map(str, arguments))} failed: {done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


@dataclass(frozen=True)
class Case:
    """A bundle. ``operations``: of the products of the prompt. ``weights``, ``reads``: bytes that a decoded token reads
    of weights, and in all, the mean of the steps."""

    name: str
    bundle: Path
    cache: Path | None
    operations: float
    weights: float
    reads: float

    @classmethod
    def made(cls, work: Path, recipe: str, kernels: str) -> Case:
        """Compiled, unless it is there."""
        checkpoint, bundle = work / "checkpoint", work / f"{recipe}-{kernels}"
        if not bundle.exists():
            g4("compile", checkpoint, "--target", "onnx-cpu", "--weights", recipe, "--kernels", kernels, "-o", bundle)
        plans = [
            plan(checkpoint, "onnx-cpu", recipe, PROMPT + step + 1, kernels=kernels, device=None)
            for step in range(STEPS)
        ]
        first = plans[0]
        tail = first.decode_operations - first.prefill_operations
        return cls(
            f"{recipe}, {kernels}",
            bundle,
            work / f"{bundle.name}-cache" if kernels == "onnxruntime" else None,
            first.prefill_operations * PROMPT + tail,
            first.decode_read_bytes - first.decode_kv_bytes,
            statistics.mean(one.decode_read_bytes for one in plans),
        )

    def measure(self, threads: int) -> Figures:
        sizes = ("--prompt-tokens", PROMPT, "--new-tokens", STEPS, "--threads", threads)
        found = g4("bench", self.bundle, *sizes, *(("--cache", self.cache) if self.cache else ()))
        return {**found, "resident_above_weights_bytes": found["resident_bytes"] - self.weights}

    def shares(self, found: Figures, limit: Limits) -> Figures:
        rates = {
            "prefill_share": (self.operations / found["time_to_first_token_s"], limit.int8),
            "decode_share": (self.reads * found["decode_tokens_per_second"], limit.read),
        }
        return {name: rate / most for name, (rate, most) in rates.items() if most}


def measured(run: Callable[[], Figures], case: Case | None, limit: Callable[[], Limits]) -> Figures:
    """The figures of ``run``, with the limits before and after it."""
    before, found, after = limit(), run(), limit()
    both = before.mean(after)
    for when, one in (("", both), ("_before", before), ("_after", after)):
        found |= {f"read_limit{when}": one.read, f"int8_limit{when}": one.int8}
    return {**found, **(case.shares(found, both) if case else {})}


def medians(rounds: list[Figures]) -> Figures:
    """Of what are numbers."""
    numbers = [name for name, value in rounds[0].items() if isinstance(value, int | float)]
    return {name: statistics.median(one[name] for one in rounds) for name in numbers}


def ratios(found: dict[str, Figures]) -> dict[str, Figures]:
    """Speeds of each bundle over those of what it stands beside: the same recipe with ONNX Runtime's kernels, other
    runtimes."""
    pairs = [
        (name, beside)
        for name in found
        for beside in found
        if ", " in name and (", " not in beside or (name, beside) == _both_kernels(name))
    ]
    return {
        f"{name} / {beside}": {one: found[name][one] / found[beside][one] for one in SPEEDS} for name, beside in pairs
    }


def _both_kernels(name: str) -> tuple[str, str]:
    recipe = name.partition(", ")[0]
    return f"{recipe}, g4ops", f"{recipe}, onnxruntime"


def show(found: dict[str, Figures]) -> None:
    first = max(map(len, found))
    print(" " * first, *SHOWN, sep="  ")
    for name, figures in found.items():
        shown = [
            (f"{figures[key] / unit:,.{digits}f}" if key in figures else "").rjust(len(title))
            for title, (key, unit, digits) in SHOWN.items()
        ]
        print(name.ljust(first), *shown, sep="  ")
    for name, pair in ratios(found).items():
        print(f"{name}: prefill {pair[SPEEDS[0]]:.2f}, decode {pair[SPEEDS[1]]:.2f}")


def checkpoint_of(work: Path, source: str) -> Path:
    """The checkpoint of ``source`` in ``work``, made unless it is there."""
    checkpoint = work / "checkpoint"
    if not checkpoint.exists():
        g4("synth", source, "-o", checkpoint, "--dtype", "bfloat16", "--modalities", "text")
    here, asked = (replace(model_facts(load_config(one)).text, dtype="") for one in (checkpoint, source))
    if here != asked:
        sys.exit(f"{checkpoint} is of another geometry than {source}: name another folder")
    return checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--recipes", default="int4-channel,int4,mobile")
    parser.add_argument("--kernels", default=kernels_for("int4", None))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--config", default="e2b")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--transformers", action="store_true")
    parser.add_argument("--llama", type=Path)
    parser.add_argument("--litert", type=Path)
    given = parser.parse_args()
    checkpoint_of(given.work, given.config)
    threads, kernels = given.threads, given.kernels.split(",")
    cases = [Case.made(given.work, recipe, one) for recipe in given.recipes.split(",") for one in kernels]
    runs: dict[str, tuple[Callable[[], Figures], Case | None]] = {
        case.name: (partial(case.measure, threads), case) for case in cases
    }
    if given.transformers:
        runs["transformers bfloat16"] = partial(peers.transformers, given.work, PROMPT, threads), None
    for name, script, python in (
        ("llama.cpp Q4_0", "llama_cpp.py", given.llama),
        ("LiteRT-LM int4", "litert_lm.py", given.litert),
    ):
        if python is not None:
            runs[name] = partial(peers.other, script, given.work, python, threads), None
    limit = partial(limits, built(given.work / "limits", "limits"), threads)
    rounds = [{name: measured(run, case, limit) for name, (run, case) in runs.items()} for _ in range(given.rounds)]
    found = {name: medians([one[name] for one in rounds]) for name in runs}
    print(f"{given.config}, {threads} threads on {processor()}, {PROMPT} prompt tokens, {STEPS} new ones")
    show(found)
    if given.json:
        whole = {"processor": processor(), "medians": found, "ratios": ratios(found), "rounds": rounds}
        given.json.write_text(json.dumps(whole, indent=2) + "\n")


if __name__ == "__main__":
    main()
