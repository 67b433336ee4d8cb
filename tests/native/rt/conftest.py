"""libg4rt and its parts as small libraries, built once a run. `G4RT_BUILD` names a folder in which they are built."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.native.building import build_once
from tests.native.rt.chat import Chat
from tests.native.rt.g4rt import G4rt
from tests.native.rt.media_parts import Parts
from tests.native.rt.text_library import TextLibrary

PARTS = ("g4rt_chat_parts", "g4rt_files_parts", "g4rt_media_parts", "g4rt_text_parts")
REPLAYS = ("replay_chat", "replay_manifest", "replay_state", "replay_tokenizer")
TARGETS = ("g4rt", *PARTS, *REPLAYS, "rt_driver")


@pytest.fixture(scope="session")
def rt_built(shared):
    """The folder with libg4rt.so, and the libraries of its parts that tests call alone."""
    given = os.environ.get("G4RT_BUILD")
    return Path(given) if given else build_once(shared, "rt", TARGETS)


@pytest.fixture(scope="session")
def rt(rt_built, g4ops_file):
    return G4rt(rt_built / "libg4rt.so", g4ops_file)


@pytest.fixture(scope="session")
def parts(rt_built):
    return Parts(rt_built / "libg4rt_media_parts.so")


@pytest.fixture(scope="session")
def text_library(rt_built):
    return TextLibrary(rt_built / "libg4rt_text_parts.so")


@pytest.fixture(scope="session")
def chat(rt_built):
    return Chat(rt_built / "libg4rt_chat_parts.so")
