"""A process that answers questions, made again when a question ends it: for code that can crash or hang."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

SECONDS = 5.0  # of the processor, that an answer may take: a busy machine does not stretch them
_WAITING = 120.0  # seconds of the clock, for one that waits for something
_STARTING = 300.0
_SPAWN = multiprocessing.get_context("spawn")


class Asked:
    """``answer``: a function of a module, called in the other process with what `ask` is given. It returns text."""

    def __init__(self, answer: Callable[..., str]) -> None:
        self._answer = answer
        self._start()

    def ask(self, *question: Any) -> str:
        """The answer, or what happened instead: `crash: ...` or `hang`."""
        self._pipe.send(question)
        try:
            if self._answers():
                return str(self._pipe.recv())
            found = "hang"
        except EOFError:
            self._process.join()
            found = f"crash: exit code {self._process.exitcode}"
        self.end()
        self._start()
        return found

    def _answers(self) -> bool:
        """Whether there is an answer in time."""
        start, before = time.monotonic(), self._processor()
        while not self._pipe.poll(0.5):
            if self._processor() - before > SECONDS or time.monotonic() - start > _WAITING:
                return False
        return True

    def _processor(self) -> float:
        """Seconds of the processor that the process has used. Source: proc(5), `/proc/PID/stat`."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        self._process.kill()
        self._process.join()

    def _start(self) -> None:
        self._pipe, theirs = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_answer_all, args=(theirs, self._answer), daemon=True)
        self._process.start()
        theirs.close()
        assert self._pipe.poll(_STARTING) and self._pipe.recv() == "ready"


def _answer_all(pipe: Connection, answer: Callable[..., str]) -> None:
    pipe.send("ready")
    while True:
        try:
            question = pipe.recv()
        except EOFError:  # the test is over
            return
        pipe.send(answer(*question))
