"""The library, built once a run. `G4OPS_LIBRARY` names one that is built already."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from filelock import FileLock

from tests.native.building import build, need_compiler
from tests.native.library import Library


@pytest.fixture(scope="session")
def built(shared):
    """The folder with libg4ops.so and the test driver."""
    need_compiler()
    folder = shared / "native"
    with FileLock(shared / "native.lock"):
        if not (folder / "done").exists():
            build(folder, "g4ops", "driver", G4OPS_TESTS="ON")
            (folder / "done").touch()
    return folder


@pytest.fixture(scope="session")
def library(request):
    given = os.environ.get("G4OPS_LIBRARY")
    return Library(Path(given) if given else request.getfixturevalue("built") / "libg4ops.so")


@pytest.fixture(scope="session", params=("avx512vnni", "avx2", "neon_dotprod", "scalar"))
def kernels(request, library):
    if request.param not in library.instruction_sets():
        pytest.skip(f"this machine does not run {request.param}")
    return library.kernels(request.param)
