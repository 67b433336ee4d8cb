"""The library, built once a run. `G4OPS_LIBRARY` names one that is built already."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from filelock import FileLock

from tests.native.building import build, need_compiler
from tests.native.library import Library


def build_once(shared):
    """The folder with libg4ops.so and the test driver, built by whichever worker of a run comes first."""
    need_compiler()
    folder = shared / "native"
    with FileLock(shared / "native.lock"):
        if not (folder / "done").exists():
            build(folder, "g4ops", "driver", G4OPS_TESTS="ON")
            (folder / "done").touch()
    return folder


@pytest.fixture(scope="session")
def built(shared):
    return build_once(shared)


@pytest.fixture(scope="session")
def library(g4ops_file):
    return Library(g4ops_file)


@pytest.fixture(scope="session", params=("avx512vnni", "avx2", "neon_dotprod", "scalar"))
def kernels(request, library):
    if request.param not in library.instruction_sets():
        pytest.skip(f"this machine does not run {request.param}")
    return library.kernels(request.param)
