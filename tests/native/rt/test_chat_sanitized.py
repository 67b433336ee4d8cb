"""Chat tables once more, with a library that checks every read, and from anything at all."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.native.building import build
from tests.native.test_toolchains import run_under_the_address_sanitizer

CORPUS = Path(__file__).parents[3] / "native" / "fuzz" / "corpus" / "chat"


@pytest.mark.nightly
def test_under_the_address_sanitizer(tmp_path):
    library = str(tmp_path / "libg4rt_chat_parts.so")
    run_under_the_address_sanitizer(tmp_path, ["g4rt_chat_parts"], ["rt/test_chat.py"], G4RT_CHAT_PARTS=library)


@pytest.mark.nightly
def test_a_minute_of_fuzzing(tmp_path):
    clang = next((found for name in ("clang++", "clang++-16", "clang++-14") if (found := shutil.which(name))), None)
    if not clang:
        pytest.skip("no clang++, whose library the fuzzer is made with")
    build(tmp_path, "fuzz_chat", G4RT_FUZZ="ON", CMAKE_CXX_COMPILER=clang)
    (tmp_path / "found").mkdir()
    done = subprocess.run(
        [str(tmp_path / "fuzz_chat"), "-max_total_time=60", "-timeout=20", str(tmp_path / "found"), str(CORPUS)],
        check=False, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
