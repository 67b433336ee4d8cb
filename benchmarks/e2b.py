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
at the lengths that were run, over time over the read limit. Beside them stand the speeds that `plan` gives for this
machine, as it was measured at the begin of each round.
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
from figures import Figures, medians, ratios, show
from limits import Limits, built, limits, processor

from g4compile.model.config import load_config, model_facts
from g4compile.planning.device import Device, measure_device
from g4compile.planning.plan import Plan, plan
from g4compile.targets.onnx.kernels import kernels_for

PROMPT, STEPS = 512, 32


def g4(*arguments: object) -> dict[str, Any]:
    """A verb's JSON, from a process of its own."""
    command = [sys.executable, "-m", "g4compile", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"g4compile {' '.join(map(str, arguments))} failed: {done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


@dataclass(frozen=True)
class Case:
    """A bundle. ``planned``: its plan on a device. ``operations``: of the products of the prompt. ``weights``,
    ``reads``: bytes that a decoded token reads of weights, and in all, the mean of the steps."""

    name: str
    bundle: Path
    cache: Path | None
    planned: Callable[..., Plan]
    operations: float
    weights: float
    reads: float

    @classmethod
    def made(cls, work: Path, recipe: str, kernels: str) -> Case:
        """Compiled, unless it is there."""
        checkpoint, bundle = work / "checkpoint", work / f"{recipe}-{kernels}"
        if not bundle.exists():
            g4("compile", checkpoint, "--target", "onnx-cpu", "--weights", recipe, "--kernels", kernels, "-o", bundle)
        planned = partial(plan, checkpoint, "onnx-cpu", recipe, kernels=kernels)
        plans = [planned(context=PROMPT + step + 1) for step in range(STEPS)]
        first = plans[0]
        tail = first.decode_operations - first.prefill_operations
        return cls(
            f"{recipe}, {kernels}",
            bundle,
            work / f"{bundle.name}-cache" if kernels == "onnxruntime" else None,
            planned,
            first.prefill_operations * PROMPT + tail,
            first.decode_read_bytes - first.decode_kv_bytes,
            statistics.mean(one.decode_read_bytes for one in plans),
        )

    def measure(self, threads: int) -> Figures:
        sizes = ("--prompt-tokens", PROMPT, "--new-tokens", STEPS, "--threads", threads)
        found = g4("bench", self.bundle, *sizes, *(("--cache", self.cache) if self.cache else ()))
        return {**found, "resident_above_weights_bytes": found["resident_bytes"] - self.weights}

    def plan(self, device: Device) -> Figures:
        """What `plan` says of the speeds on ``device``."""
        made = self.planned(context=PROMPT + STEPS, device=device)
        return {
            "planned_prefill_tokens_per_second": made.prefill_tokens_per_second,
            "planned_decode_tokens_per_second": made.decode_tokens_per_second,
        }

    def shares(self, found: Figures, limit: Limits) -> Figures:
        rates = {
            "prefill_share": (self.operations / found["time_to_first_token_s"], limit.int8),
            "decode_share": (self.reads * found["decode_tokens_per_second"], limit.read),
        }
        return {name: rate / most for name, (rate, most) in rates.items() if most}


@dataclass(frozen=True)
class Run:
    """Something that is timed: a bundle, or another runtime."""

    figures: Callable[[], Figures]
    case: Case | None = None

    def measured(self, limit: Callable[[], Limits], device: Device) -> Figures:
        """With the limits before and after, and what is planned for ``device``."""
        before, found, after = limit(), self.figures(), limit()
        both = before.mean(after)
        for when, one in (("", both), ("_before", before), ("_after", after)):
            found |= {f"read_limit{when}": one.read, f"int8_limit{when}": one.int8}
        return found if self.case is None else {**found, **self.case.shares(found, both), **self.case.plan(device)}


def one_round(runs: dict[str, Run], limit: Callable[[], Limits], threads: int) -> dict[str, Figures]:
    device = measure_device(threads)
    return {name: run.measured(limit, device) for name, run in runs.items()}


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
    runs = {case.name: Run(partial(case.measure, threads), case) for case in cases}
    if given.transformers:
        runs["transformers bfloat16"] = Run(partial(peers.transformers, given.work, PROMPT, threads))
    for name, script, python in (
        ("llama.cpp Q4_0", "llama_cpp.py", given.llama),
        ("LiteRT-LM int4", "litert_lm.py", given.litert),
    ):
        if python is not None:
            runs[name] = Run(partial(peers.other, script, given.work, python, threads))
    limit = partial(limits, built(given.work / "limits", "limits"), threads)
    rounds = [one_round(runs, limit, threads) for _ in range(given.rounds)]
    found = {name: medians([one[name] for one in rounds]) for name in runs}
    print(f"{given.config}, {threads} threads on {processor()}, {PROMPT} prompt tokens, {STEPS} new ones")
    show(found)
    if given.json:
        whole = {"processor": processor(), "medians": found, "ratios": ratios(found), "rounds": rounds}
        given.json.write_text(json.dumps(whole, indent=2) + "\n")


if __name__ == "__main__":
    main()
