"""Parts of libg4rt for the tests, built once a run. `G4RT_CHAT_PARTS` names one that is built already."""

from __future__ import annotations

import os

import pytest

from tests.native.building import build_once
from tests.native.rt.chat import Chat


@pytest.fixture(scope="session")
def chat(shared):
    given = os.environ.get("G4RT_CHAT_PARTS")
    return Chat(given or build_once(shared, "rt_chat", ("g4rt_chat_parts",)) / "libg4rt_chat_parts.so")
