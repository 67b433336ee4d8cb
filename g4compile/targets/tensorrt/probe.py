"""Whether TensorRT can make a builder here, asked in a process of its own: that it is installed does not say so, and a
library that is not whole may end the process that loads it, or never answer.

`python -m g4compile.targets.tensorrt.probe TARGET` prints one JSON object: `found`, in words, or what an error says.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

from g4compile.errors import MachineError
from g4compile.targets.tensorrt.build import EngineBuilder
from g4compile.targets.tensorrt.edition import EDITIONS, Edition
from g4compile.trace.apart import environment

COMMAND = (sys.executable, "-P", "-X", "utf8", "-m", "g4compile.targets.tensorrt.probe")
SECONDS = 120  # a first load of the libraries from a slow disk
Found = dict[str, str]  # `found`, in words; or `error`, perhaps `why`, and `try`
_BROKEN = "install all of its libraries again, of one version, and see that the GPU's driver is new enough"


def builders() -> dict[str, Found]:
    """By target, of the products that are installed: that a builder can be made, or what keeps it from that."""
    return {
        name: try_builder(edition)
        for name, edition in EDITIONS.items()
        if importlib.util.find_spec(edition.module) is not None
    }


def try_builder(edition: Edition, seconds: float = SECONDS) -> Found:
    """Make a builder of ``edition`` in another process, which has ``seconds`` to do so."""
    try:
        done = subprocess.run(
            [*COMMAND, edition.target],
            capture_output=True, encoding="utf-8", errors="replace", env=environment(), timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return _failed(f"{edition.name} made no builder in {seconds:.0f} seconds", "", _BROKEN)
    if done.returncode < 0:
        return _failed(f"{edition.name} ended its process by signal {-done.returncode}", _last(done.stderr), _BROKEN)
    try:
        said = json.loads(_last(done.stdout))
        return {str(key): str(value) for key, value in said.items()}
    except (ValueError, AttributeError):
        return _failed(f"{edition.name} made no builder: exit code {done.returncode}", _last(done.stderr), _BROKEN)


def _failed(error: str, why: str, fix: str) -> Found:
    return {"error": error, **({"why": why} if why else {}), "try": fix}


def _last(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")


def _answer(edition: Edition) -> Found:
    try:
        made = EngineBuilder(edition)
    except MachineError as error:
        said = error.as_json()
        return {key: str(said[key]) for key in ("error", "why", "try") if key in said}
    timed = "" if edition.capabilities else "; it times kernels on the GPU, where the weights must fit beside"
    return {"found": f"{edition.name} {made.trt.__version__} makes a builder{timed}"}


if __name__ == "__main__":
    print(json.dumps(_answer(EDITIONS[sys.argv[1]])))
