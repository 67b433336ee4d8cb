"""The library, built once a run. `G4OPS_LIBRARY` names one that is built already."""

from __future__ import annotations

import pytest

from tests.native.building import build_once
from tests.native.library import SETS, Library


@pytest.fixture(scope="session")
def built(shared):
    return build_once(shared)


@pytest.fixture(scope="session")
def library(g4ops_file):
    return Library(g4ops_file)


@pytest.fixture(scope="session", params=SETS)
def kernels(request, library):
    if request.param not in library.instruction_sets():
        pytest.skip(f"this machine does not run {request.param}")
    return library.kernels(request.param)
