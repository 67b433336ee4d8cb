"""File operations of this process that fail, or end it, at a chosen call: wrappers around what Python calls.

A call is named by its operation and the file it is for (`pwrite weights.data`), and by how many such calls came before.
Only files in the given folders count, and those that are named by a descriptor.
"""

from __future__ import annotations

import builtins
import errno
import functools
import io
import os
import signal
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from g4compile.targets import renames

ERRORS = ("ENOSPC", "EIO", "EACCES")
KILL, HALF, KILL_HALF = "kill", "half", "kill half"  # half: half of what is written is, then the disk is full
FAULTS = (*ERRORS, KILL, HALF, KILL_HALF)
_NAMED = (
    "open", "mkdir", "rmdir", "unlink", "rename", "stat", "lstat", "scandir", "listdir", "fsync", "fstat", "pread",
    "pwrite", "ftruncate", "close",
)  # fmt: skip
WRITES = ("pwrite", "write")


@dataclass(frozen=True, order=True)
class Call:
    """The call number ``number``, from 0, of ``operation`` for files named ``file``."""

    operation: str
    file: str
    number: int


class Injector:
    """Counts calls for files in ``folders``. ``at``: the call that meets ``fault``; without it nothing fails."""

    def __init__(self, folders: list[Path], at: Call | None = None, fault: str = "") -> None:
        self.calls: list[Call] = []
        self.met = False
        self._folders = tuple(f"{folder}/" for folder in folders)
        self._at, self._fault = at, fault
        self._counts: Counter[tuple[str, str]] = Counter()
        self._mutex = threading.Lock()
        self._readlink = os.readlink

    def install(self) -> None:
        """For good: it is for a process that ends soon."""
        for name in _NAMED:
            setattr(os, name, self._wrapped(name, getattr(os, name)))
        opened = self._wrapped("open", io.open)
        builtins.open = io.open = lambda *given, **options: _File(opened(*given, **options), self)
        renames._rename = self._wrapped("renameat2", renames._rename)

    def _wrapped(self, operation, real):
        def call(*given, **options):
            file = self.file(given[0] if given else ".", options)
            if file is None:
                return real(*given, **options)
            half = None
            if operation == "pwrite":
                descriptor, data, offset = given
                half = functools.partial(real, descriptor, bytes(data)[: len(data) // 2], offset)
            return self.meet(operation, file, lambda: real(*given, **options), half)

        return call

    def file(self, named, options) -> str | None:
        """The name of the file that a call is for; None when the call does not count."""
        if isinstance(named, int):
            if named < 3:
                return None
            try:
                opened = self._readlink(f"/proc/self/fd/{named}")
            except OSError:
                return None
            return None if opened.startswith(("pipe:", "/dev/")) else Path(opened).name  # those of another process
        name = os.fspath(named)
        name = name.decode() if isinstance(name, bytes) else name
        if options.get("dir_fd") is not None or f"{name}/".startswith(self._folders):
            return Path(name).name
        return None

    def meet(self, operation, file, real, half=None):
        """Make the call ``real``, or what is to happen in its place."""
        with self._mutex:
            call = Call(operation, file, self._counts[operation, file])
            self._counts[operation, file] += 1
            self.calls.append(call)
        if call != self._at:
            return real()
        self.met = True
        if self._fault in (HALF, KILL_HALF) and half is not None:
            half()
        if self._fault in (KILL, KILL_HALF):
            os.kill(os.getpid(), signal.SIGKILL)
        if operation == "close":
            real()  # a close that fails has closed
        code = getattr(errno, self._fault if self._fault in ERRORS else "ENOSPC")
        raise OSError(code, os.strerror(code), file)


class _File:
    """An open file whose writes, and close where it was written to, can fail."""

    def __init__(self, real, injector) -> None:
        self._real, self._injector = real, injector
        self._file = injector.file(real.fileno(), {})
        self._written = real.writable()

    def write(self, data):
        real = self._real
        if self._file is None:
            return real.write(data)
        half = data[: len(data) // 2]
        return self._injector.meet(
            "write", self._file, lambda: real.write(data), lambda: (real.write(half), real.flush())
        )

    def truncate(self, size=None):
        return self._injector.meet("truncate", self._file or "", lambda: self._real.truncate(size))

    def close(self):
        if self._written and not self._real.closed and self._file is not None:
            return self._injector.meet("close", self._file, self._real.close)
        return self._real.close()

    def __getattr__(self, name):
        return getattr(self._real, name)

    def __iter__(self):
        return iter(self._real)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
