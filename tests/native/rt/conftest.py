"""Parts of libg4rt, built once a run. `G4RT_MEDIA_PARTS` names a library that is built already."""

from __future__ import annotations

import os

import pytest

from tests.native.building import build_once
from tests.native.rt.media_parts import Parts


@pytest.fixture(scope="session")
def parts(shared):
    given = os.environ.get("G4RT_MEDIA_PARTS")
    return Parts(given or build_once(shared, "rt-media", ("g4rt_media_parts",)) / "libg4rt_media_parts.so")
