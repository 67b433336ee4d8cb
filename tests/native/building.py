"""How tests build `native/`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from filelock import FileLock

NATIVE = Path(__file__).parents[2] / "native"
COMPILERS = ("c++", "clang++", "g++", "clang++-16")


def build(folder, *targets, **settings):
    """Configure `native/` into ``folder`` and build it. Fails with the compiler's words."""
    given = [f"-D{name}={value}" for name, value in settings.items()]
    generator = ["-G", "Ninja"] if shutil.which("ninja") else []
    wanted = [word for target in targets for word in ("--target", target)]
    for command in (
        ["cmake", "-S", str(NATIVE), "-B", str(folder), *generator, *given],
        ["cmake", "--build", str(folder), "--parallel", "2", *wanted],
    ):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return folder


def output(*command, **environment):
    """What a command says; it must succeed."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, **environment})
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    return done.stdout


def need_compiler():
    if not shutil.which("cmake"):
        pytest.skip("no cmake: the library cannot be built")
    if not os.environ.get("CXX") and not any(shutil.which(name) for name in COMPILERS):
        pytest.skip(f"no C++ compiler ({', '.join(COMPILERS)}): the library cannot be built")


def build_once(shared, name="native", targets=("g4ops", "driver", "tasks"), **settings):
    """The folder with ``targets``, built by whichever worker of a run comes first."""
    need_compiler()
    folder = shared / name
    with FileLock(shared / f"{name}.lock"):
        if not (folder / "done").exists():
            build(folder, *targets, G4OPS_TESTS="ON", **settings)
            (folder / "done").touch()
    return folder
