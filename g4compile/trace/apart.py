"""The trace in a process of its own, whose memory (torch's, above all) is gone when the graph is here.

The process finds the g4compile that started it. The current folder is not on its path: with a downloaded checkpoint
as the current folder, a `torch.py` in it would run. So entries of PYTHONPATH that are relative do not reach it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir

import g4compile
from g4compile import errors
from g4compile.errors import Defect, G4Error, MachineError
from g4compile.graph.stage import STAGES, set_stage
from g4compile.model.contents import DECODER
from g4compile.weights.checkpoint import Checkpoint
from g4compile.weights.text import parse_graph

COMMAND = (sys.executable, "-P", "-X", "utf8", "-m", "g4compile.trace")


def trace_apart(source: Checkpoint, part: str = DECODER) -> ir.Model:
    """The ``part`` of ``source`` as a [traced] graph, weights unbound, made by another process.

    Raises what that process raised; MachineError when a signal ended it, Defect when it failed without a word.
    """
    done = subprocess.run(
        [*COMMAND, str(source.folder), part], capture_output=True, encoding="utf-8", env=environment(), check=False
    )
    if done.returncode < 0:
        raise MachineError(
            f"the process that traces the model was ended by signal {-done.returncode}",
            where=str(source.folder),
            why="a system that runs out of memory does so, with signal 9",
            fix="free some memory, and compile again",
        )
    if done.returncode:
        raise _failure(done.stderr, done.returncode)
    model = parse_graph(done.stdout)
    set_stage(model, STAGES[0])
    return model


def environment() -> dict[str, str]:
    """This process's, with a path on which the same g4compile is found, and the current folder is not."""
    inherited = "" if sys.flags.ignore_environment else os.environ.get("PYTHONPATH", "")
    path = [entry for entry in inherited.split(os.pathsep) if Path(entry).is_absolute()]
    root = str(Path(g4compile.__file__).resolve().parent.parent)
    if root not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        path.insert(0, root)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTHONSAFEPATH": "1"}


def _failure(stderr: str, code: int) -> Exception:
    """The error that the last line of ``stderr`` holds; a Defect with that line when it holds none."""
    last = next((line for line in reversed(stderr.splitlines()) if line.strip()), "nothing was printed")
    try:
        return _decode(json.loads(last))
    except (ValueError, KeyError, TypeError, AttributeError):
        return Defect(f"the process that traces the model failed with exit code {code}", why=last)


def _decode(said: Mapping[str, Any]) -> Exception:
    """The inverse of `G4Error.as_json`; a package that is not installed stays what it was."""
    if said["kind"] == ModuleNotFoundError.__name__:
        return ModuleNotFoundError(said["error"], name=said["module"])
    kind: type[G4Error] = getattr(errors, said["kind"])
    return kind(said["error"], where=said.get("where", ""), why=said.get("why", ""), fix=said.get("try", ""))
