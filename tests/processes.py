"""Compiles in other processes, which tests kill or limit: forks of one process that has imported what they need."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(
    ["tests.processes", "g4compile.compiler", "transformers.models.gemma4.modeling_gemma4"]
)


def killed_compile(source: Path, out: Path, when: str, **options: Any) -> None:
    """Compile for onnx-cpu in another process, and kill that (SIGKILL) when a line of its progress holds ``when``."""
    ours, theirs = _PROCESSES.Pipe()
    process = _PROCESSES.Process(target=_compile_until, args=(theirs, source, out, when, options))
    process.start()
    theirs.close()
    try:
        assert when in ours.recv()  # EOFError: the compile ended without that line
    finally:
        process.kill()
        process.join()


def _compile_until(pipe: Connection, source: Path, out: Path, when: str, options: dict[str, Any]) -> None:
    from g4compile.compiler import compile

    def progress(text: str, done: int, total: int) -> None:
        if when in text:
            pipe.send(text)
            time.sleep(60)

    compile(source, "onnx-cpu", out, progress=progress, modalities=("text",), **options)


def forked(work: Callable[[], None], seconds: float = 120) -> int:
    """Do ``work`` in a copy of this process. 0 when it returned, 9 when it raised, -N when signal N ended it.

    Raises TimeoutError when it does not end.
    """
    child = os.fork()
    if not child:
        code = 9
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)  # whatever happens, the copy of the tests ends here
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise TimeoutError(f"no answer in {seconds} s")


def run(function: Callable[..., None], *arguments: Any, said: Path) -> int:
    """Call ``function``, of a module, in another process. Its exit code; what it prints goes to the file ``said``."""
    process = _PROCESSES.Process(target=_run, args=(function, arguments, said))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _run(function: Callable[..., None], arguments: tuple[Any, ...], said: Path) -> None:
    descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in (1, 2):
        os.dup2(descriptor, number)
    function(*arguments)


def compile_limited(source: Path, out: Path, weights: str, data: int) -> None:
    """Compile for onnx-cpu; from the first pass on, private memory (VmData) may grow by ``data`` bytes."""
    from g4compile.compiler import compile

    limits = []

    def progress(text: str, done: int, total: int) -> None:
        if "canonical: canonicalize-constants" in text and not limits:
            status = Path("/proc/self/status").read_text().splitlines()
            now = next(int(line.split()[1]) for line in status if line.startswith("VmData"))
            limits.append(now * 1024 + data)
            resource.setrlimit(resource.RLIMIT_DATA, (limits[0], limits[0]))

    compile(source, "onnx-cpu", out, weights=weights, modalities=("text",), max_memory=64 << 20, progress=progress)
    assert limits


def command_line(arguments: list[str], largest_file: int) -> None:
    """`g4compile ARGUMENTS`, no file larger than ``largest_file`` bytes."""
    from g4compile.cli.app import app

    resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    app(arguments)
