"""The first run of engines on a machine that has TensorRT: a ladder of rungs, each a little more than the one before.

    python benchmarks/gpu/first_run.py WORK [--target tensorrt|tensorrt-rtx] [--only RUNG,...] [--largest CONFIG]
                                            [--limit SECONDS] [--out FILE] [--stand-in MODULE]

Each rung is a process of its own with a time limit, so that one that crashes, or hangs, costs the others nothing: the
ladder goes on. What a rung builds and runs is compared with Hugging Face eager in float32, beside what transformers
itself loses in bfloat16. A table goes to the screen, everything else to FILE (`WORK/first_run.json`), which is written
again behind every rung: the figures, or the words of what failed, and the end of the rung's own output.

``WORK``: a folder for checkpoints and bundles. It is made, and kept. ``--largest``: the config of the last rung, which
is made of random weights (E2B: 10 GB), with ``--context`` and ``--chunk``. ``--limit``: seconds of a rung, in the place
of its own. ``--stand-in``: a Python module whose `install()` puts something in the place of TensorRT, for a rehearsal
without it. Rungs are in `rungs.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE)]

from judged import Site  # noqa: E402 - found by the line above
from rungs import LADDER, Rung  # noqa: E402

PASSED, FAILED, REFUSED, TIMED_OUT, CRASHED = "passed", "FAILED", "refused", "TIMED OUT", "CRASHED"
_REPLY = "first_run says: "  # in front of what a rung has found, among all that it prints
_KEPT = 4000  # characters of a rung's output


def climb(rung: Rung, site: Site, limit: int) -> dict[str, Any]:
    """Run ``rung`` in a process of its own, for ``limit`` seconds at most: its state, seconds, figures or error, and
    the end of what it printed."""
    command = [sys.executable, str(HERE / "first_run.py"), str(site.work), "--rung", rung.name, *site.arguments()]
    start = time.perf_counter()
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True
    )
    try:
        printed, code = child.communicate(timeout=limit)[0], child.returncode
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)  # and what it has started: that would keep the pipe open
        printed, code = child.communicate()[0], None
    found = {"rung": rung.name, "seconds": round(time.perf_counter() - start, 1), "output": printed[-_KEPT:]}
    replies = [line for line in printed.splitlines() if line.startswith(_REPLY)]
    if code is None:
        return {**found, "state": TIMED_OUT, "error": f"not done after {limit} seconds"}
    if not replies:
        return {**found, "state": CRASHED, "error": f"the process ended with {code}, and said nothing"}
    return {**found, **json.loads(replies[-1].removeprefix(_REPLY))}


def run_here(rung: Rung, site: Site) -> None:
    """Do what ``rung`` does in this process, and print what it found."""
    from g4compile.errors import G4Error

    try:
        site.prepare()
        found: dict[str, Any] = {"state": PASSED, "figures": rung.run(site)}
        if short := rung.short_of(found["figures"]):
            found |= {"state": FAILED, "error": short}
    except G4Error as error:  # said with its reason and what to do
        found = {"state": REFUSED, "error": str(error)}
    except Exception as error:  # whatever the bindings raise: the next rung goes on
        found = {"state": FAILED, "error": f"{type(error).__name__}: {error}"}
    print(_REPLY + json.dumps(found), flush=True)


def told(results: Sequence[dict[str, Any]]) -> str:
    """A table of ``results``: a line a rung, and below it what failed."""
    lines = [f"{'rung':<16} {'state':<10} {'s':>6}  figures"]
    for one in results:
        figures = "  ".join(f"{name} {_number(value)}" for name, value in one.get("figures", {}).items())
        lines.append(f"{one['rung']:<16} {one['state']:<10} {one['seconds']:>6}  {figures}")
        lines += [f"{'':<18}{line}" for line in one.get("error", "").splitlines()]
    return "\n".join(lines)


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--target", choices=("tensorrt", "tensorrt-rtx"), default="tensorrt")
    parser.add_argument("--only", default="")
    parser.add_argument("--largest", default="e2b")
    parser.add_argument("--context", type=int, default=Site.context)
    parser.add_argument("--chunk", type=int, default=Site.chunk)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--stand-in")
    parser.add_argument("--rung", help=argparse.SUPPRESS)  # what a child runs
    given = parser.parse_args()
    site = Site(given.work, given.target, given.largest, given.stand_in, given.context, given.chunk)
    named = {rung.name: rung for rung in LADDER if given.target in rung.targets}
    if given.rung:
        run_here(named[given.rung], site)
        return 0
    wanted = given.only.split(",") if given.only else list(named)
    if unknown := set(wanted) - set(named):
        parser.error(f"no rung of {given.target} is named {', '.join(sorted(unknown))}: {', '.join(named)}")
    given.work.mkdir(parents=True, exist_ok=True)
    out, results = given.out or given.work / "first_run.json", []
    record = {"target": given.target, "stand_in": given.stand_in, "machine": platform.platform(), "rungs": results}
    for name in wanted:
        print(f"{name} ...", flush=True)
        results.append(climb(named[name], site, given.limit or named[name].limit))
        print(told(results[-1:]).split("\n", 1)[1], flush=True)
        out.write_text(json.dumps(record, indent=1) + "\n")
    print("\n" + told(results) + f"\n\nall of it: {out}")
    return int(any(one["state"] != PASSED for one in results))


if __name__ == "__main__":
    raise SystemExit(main())
