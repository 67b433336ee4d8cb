"""What this machine can do at most, measured by `native/limits.cc`, and how long something takes."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Limits:
    """``read``: bytes a second of the best read loop. ``int8``: operations a second of the machine's own 8-bit product
    (`vpdpbusd`, or `vpmaddubsw` and `vpaddw` where there is only AVX2); 0 where no such loop is written."""

    read: float
    int8: float

    def mean(self, other: Limits) -> Limits:
        """Of what was measured before and after something."""
        return Limits((self.read + other.read) / 2, (self.int8 + other.int8) / 2)


def processor() -> str:
    """Its name: rates of different ones do not compare."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())


def built(folder: Path, target: str) -> Path:
    """The program ``target`` of `benchmarks/native`, built in ``folder``, which later calls find."""
    settings = ["-DCMAKE_BUILD_TYPE=Release", "-DG4OPS_BENCHMARK=ON"]
    for command in (
        ["cmake", "-S", str(ROOT / "native"), "-B", str(folder), *settings],
        ["cmake", "--build", str(folder), "--target", target],
    ):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder / target


def limits(program: Path, threads: int) -> Limits:
    """One run of the ``program`` that `built` makes of `limits`: two seconds."""
    done = subprocess.run([str(program), str(threads)], check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout)
    return Limits(found["read"], found["int8"])


def median_seconds(run: Callable[[int], object], repeats: int) -> float:
    """Of ``repeats`` calls, each with its number, after one to warm up."""
    run(0)
    found = []
    for turn in range(repeats):
        start = time.perf_counter()
        run(turn)
        found.append(time.perf_counter() - start)
    return statistics.median(found)
