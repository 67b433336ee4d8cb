"""The bindings of each release of full TensorRT that is taken, to be asked for names, signatures and enums."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

INSTALLED = "installed"
_LINES = Path(__file__).with_name("bindings.txt").read_text().splitlines()
_OTHERS = [line.split()[0] for line in _LINES if "#" not in line]


@pytest.fixture(scope="session", params=[INSTALLED, *_OTHERS])
def bindings(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment of a process that imports the bindings of a release."""
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc to build stub libraries with")
    if request.param == INSTALLED:
        if importlib.util.find_spec("tensorrt_bindings") is None:
            pytest.skip("the bindings of TensorRT are not installed: pip install tensorrt-cu13-bindings")
        return dict(os.environ)
    folder = Path(sys.prefix, "tensorrt-bindings", request.param)
    if not folder.exists():
        pytest.skip(f"the bindings of TensorRT {request.param} are not in {folder}: `make test` installs them")
    inherited = os.environ.get("PYTHONPATH", "")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *([inherited] if inherited else [])])}


def asked(notes: list[list[Any]], folder: Path, bindings: dict[str, str]) -> list[str]:
    """What of ``notes`` the ``bindings`` do not have; ``folder`` is for the stub libraries."""
    file = folder / "notes.json"
    file.write_text(json.dumps(notes))
    command = [sys.executable, "-m", "tests.targets.tensorrt.stubs", str(folder), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=bindings)
    assert done.returncode == 0, done.stderr
    problems: list[str] = json.loads(done.stdout.splitlines()[-1])
    return problems
