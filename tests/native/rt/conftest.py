"""libg4rt, built once a run. `G4RT_BUILD` names a folder in which it is built already."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.native.building import build_once
from tests.native.rt.g4rt import G4rt


@pytest.fixture(scope="session")
def rt_built(shared):
    """The folder with libg4rt.so, and the libraries of its parts that tests call alone."""
    given = os.environ.get("G4RT_BUILD")
    return Path(given) if given else build_once(shared, "rt", ("g4rt",))


@pytest.fixture(scope="session")
def rt(rt_built, g4ops_file):
    return G4rt(rt_built / "libg4rt.so", g4ops_file)
