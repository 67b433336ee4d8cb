"""Parts of libg4rt as small libraries, built once a run."""

from __future__ import annotations

import os

import pytest

from tests.native.building import build_once
from tests.native.rt.text_library import TextLibrary


@pytest.fixture(scope="session")
def text_library(shared):
    """`G4RT_TEXT_PARTS` names one that is built already."""
    given = os.environ.get("G4RT_TEXT_PARTS")
    return TextLibrary(given or build_once(shared, "rt_text", ("g4rt_text_parts",)) / "libg4rt_text_parts.so")
