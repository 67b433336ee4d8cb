"""The other side of `text_child.py`: starts the process, asks it, and ends it when it does not answer."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import g4compile
from g4compile.errors import BundleError, MachineError
from g4compile.inputs.system import system_errors
from g4compile.runtime.text_child import MEMORY

_SECONDS = 4.0  # of processor time for a request, and one more for each megabyte that it holds
_PATIENCE = 10  # times as long by the clock on the wall: a machine can be busy
_LONGEST = 1 << 28  # bytes of an answer
CHILD = "g4compile.runtime.text_child"
_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[1]); "
    "from importlib import import_module; import_module(sys.argv[2]).serve()"
)
_DOING = {
    "open": "tokenizer.json cannot be used",
    "encode": "the bundle's tokenizer cannot encode this text",
    "decode": "the bundle's tokenizer cannot decode these tokens",
    "word": "the bundle's tokenizer cannot decode these tokens",
    "render": "the chat template cannot be rendered",
    "walk": "the chat table cannot be walked",
}


class TextProcess:
    """A process that does what is asked, one request after another. It starts with the first, and again after one that
    ended it."""

    def __init__(self, read: Callable[[], bytes] | None, where: Path, child: str = CHILD) -> None:
        """``read`` gives the bytes of tokenizer.json; None: only templates are rendered.
        ``where``: the bundle's folder, for errors. ``child``: the module whose `serve` answers."""
        self._read, self._where, self._child = read, str(where), child
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._asking = threading.Lock()
        self._ended: weakref.finalize[..., TextProcess] | None = None
        self.special: frozenset[int] = frozenset()

    def start(self) -> None:
        """Start the process and give it the tokenizer. Raises BundleError when tokenizer.json is not usable."""
        with self._asking:
            self._start()

    def ask(self, do: str, size: int = 0, **given: Any) -> Any:
        """The value of ``do``. ``size``: characters of what is given. Raises BundleError, and ModuleNotFoundError for a
        package that is not installed."""
        with self._asking:
            if self._process is None:
                self._start()
            return self._asked(do, size, given)

    @property
    def running(self) -> bool:
        """Whether it has started, and no request has ended it since."""
        return self._process is not None

    def close(self) -> None:
        """End the process."""
        if self._ended is not None:
            self._ended()
        self._process = self._ended = None

    def _start(self) -> None:
        data = b"" if self._read is None else self._read()
        if not sys.executable:
            raise MachineError("this Python does not know its own program, and text is worked on in a second one")
        with system_errors("starting a process for the tokenizer", sys.executable):
            process = subprocess.Popen(
                [sys.executable, "-I", "-c", _START, json.dumps(_folders()), self._child],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
            )
        self._process, self._answers = process, queue.SimpleQueue()
        self._ended = weakref.finalize(self, _end, process)
        threading.Thread(target=_listen, args=(process.stdout, self._answers), daemon=True).start()
        if self._read is not None:
            self.special = frozenset(self._asked("open", len(data), {"bytes": len(data)}, data))

    def _asked(self, do: str, size: int, given: dict[str, Any], data: bytes = b"") -> Any:
        seconds = _SECONDS + size / 1e6
        request = json.dumps({"do": do, "seconds": seconds, **given}).encode() + b"\n"
        try:
            answer = self._answer(request + data, seconds)
        except BaseException:  # an interrupt too: the answer to this request must not be taken for the next one's
            self.close()
            raise
        if "error" not in answer:
            return answer["value"]
        if answer["fatal"]:
            self.close()
        if "module" in answer:
            raise ModuleNotFoundError(answer["error"], name=answer["module"])
        raise self._failed(do, answer["error"])

    def _answer(self, request: bytes, seconds: float) -> Any:
        """The answer to ``request``, or, as it would be, that there is none."""
        process, late = self._process, f"it took more than {seconds:.1f} seconds, and was ended"
        if process is None or process.stdin is None:
            return {"error": "its process has ended", "fatal": True}
        try:
            process.stdin.write(request)
            process.stdin.flush()
            line = self._answers.get(timeout=seconds * (_PATIENCE if hasattr(signal, "setitimer") else 1))
        except queue.Empty:
            return {"error": late, "fatal": True}
        except BrokenPipeError:
            line = b""
        if line.endswith(b"\n"):
            return json.loads(line)
        if line:
            return {"error": f"its answer has more than {_LONGEST:,} bytes", "fatal": True}
        code = process.wait()
        ended = late if code == -getattr(signal, "SIGPROF", 0) else f"its process ended with the code {code}"
        return {"error": f"{ended}; it may use {MEMORY >> 20:,} MB of memory", "fatal": True}

    def _failed(self, do: str, why: str) -> BundleError:
        fix = "check the tokenizer and template files of the checkpoint; token ids (--ids) need none of them"
        return BundleError(_DOING[do], where=self._where, why=why, fix=fix)


def _folders() -> list[str]:
    """Where the process finds modules: where this one does, and never in the current folder."""
    package = str(Path(g4compile.__file__).resolve().parent.parent)
    here = str(Path.cwd())
    others = [path for path in sys.path if Path(path).is_absolute() and os.path.normpath(path) != here]
    return [package, *others]


def _listen(stream: IO[bytes], answers: queue.SimpleQueue[bytes]) -> None:
    while line := stream.readline(_LONGEST):
        answers.put(line)
    answers.put(b"")
    stream.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdin is not None:
        with contextlib.suppress(OSError):  # what was never sent is of no use now
            process.stdin.close()
