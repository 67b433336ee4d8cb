"""The process that fuzzers ask: a crash and a hang are told, and it answers again after them."""

from __future__ import annotations

import os
import signal

from tests.fuzz import process
from tests.fuzz.process import Asked


def answer(what: str) -> str:
    if what == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    while what == "hang":
        pass
    return what


def test_a_crash_and_a_hang_are_told(monkeypatch):
    monkeypatch.setattr(process, "SECONDS", 0.2)
    asked = Asked(answer)
    found = [asked.ask(what) for what in ("one", "crash", "two", "hang", "three")]
    asked.end()
    assert found == ["one", f"crash: exit code -{signal.SIGSEGV.value}", "two", "hang", "three"]
