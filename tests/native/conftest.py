"""The library, built once a run. `G4OPS_LIBRARY` names one that is built already."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.native.arm64 import TOOLCHAIN, need_arm64
from tests.native.building import build_once
from tests.native.cuda import Machine, build_stub
from tests.native.library import SETS, Library


@pytest.fixture(scope="session")
def built(shared):
    return build_once(shared)


@pytest.fixture(scope="session")
def arm64(shared):
    """The folder with libg4ops and libg4rt for arm64, which must link without a warning, and the test driver;
    `G4_ARM64` names one that is built already."""
    need_arm64()
    if given := os.environ.get("G4_ARM64"):
        return Path(given)
    settings = {"CMAKE_TOOLCHAIN_FILE": TOOLCHAIN, "G4_STATIC_CXX": "ON"}
    return build_once(shared, "native-arm64", ("g4ops", "g4rt", "driver"), **settings)


@pytest.fixture(scope="session")
def library(g4ops_file):
    return Library(g4ops_file)


@pytest.fixture(scope="session", params=SETS)
def kernels(request, library):
    if request.param not in library.instruction_sets():
        pytest.skip(f"this machine does not run {request.param}")
    return library.kernels(request.param)


@pytest.fixture(scope="session")
def cuda_built(shared):
    """The folder with libg4cuda.so, its ops on the CPU, and the program of expressions; `G4CUDA_BUILD` names one that
    is built already."""
    given = os.environ.get("G4CUDA_BUILD")
    return Path(given) if given else build_once(shared, "cuda", ("g4cuda", "g4cuda_on_cpu", "expressions"))


@pytest.fixture(scope="session")
def stub(tmp_path_factory):
    """A folder with the driver of the tests."""
    return build_stub(tmp_path_factory.mktemp("driver") / "stub")


@pytest.fixture
def machine(cuda_built, stub, tmp_path):
    return Machine(cuda_built, stub, tmp_path)
