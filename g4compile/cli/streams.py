"""The streams of the process: those that are closed, full, or read by nobody, and stdout under --json.

--json is one valid JSON object on stdout, and nothing else. Libraries print to stdout too, some of them to the file
descriptor itself (ONNX Runtime, when a provider fails). While the work runs, both go to stderr; the object is written
to the real stdout at the end.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

from g4compile.inputs.system import system_error

STDIN, STDOUT, STDERR = 0, 1, 2
NOBODY_READS = 141  # 128 and SIGPIPE: what a shell gives for a program that a broken pipe ends


def open_streams() -> None:
    """Give the process the streams that it lacks, and let both outputs print any text.

    What is printed to a closed stream is lost. It must be open all the same: a file that is opened next would get its
    number, and what libraries print would be written into that file. Text is UTF-8. What UTF-8 does not have (a file
    name in another encoding) is escaped.
    """
    for number in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
    sys.stdin = sys.stdin or open(STDIN, encoding="utf-8", closefd=False)  # noqa: SIM115 - open as long as the process
    sys.stdout = sys.stdout or open(STDOUT, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(STDERR, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


@contextlib.contextmanager
def output_written() -> Iterator[None]:
    """Around all that prints: write out what is still held when it ends. An output that cannot be written is one
    message and exit code 3; one that nobody reads ends the process without a word, with exit code 141."""
    given = sys.stdout
    code: Any = 0
    try:
        try:
            yield
        except SystemExit as end:
            code = end.code
            if sys.stdout is not given:  # the parser has put another in its place, because nobody reads it
                sys.stdout = given
                raise BrokenPipeError from None
        sys.stdout.flush()
    except BrokenPipeError:
        code = NOBODY_READS
        _drop(sys.stdout, STDOUT)
    except OSError as error:
        code = _cannot_write(error)
    try:
        sys.stderr.flush()
    except OSError:  # there is nowhere left to say it
        _drop(sys.stderr, STDERR)
    sys.exit(code)


def _cannot_write(error: OSError) -> int:
    problem = system_error(error, "writing the result", "stdout")
    _drop(sys.stdout, STDOUT)
    with contextlib.suppress(OSError):
        print(f"error: {problem}", file=sys.stderr, flush=True)
    return problem.code


def _drop(stream: TextIO, number: int) -> None:
    """Lose what ``stream`` still holds: Python would try to write it once more when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)
    with contextlib.suppress(OSError):
        stream.flush()


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[TextIO]:
    """Send what is printed to stdout, by Python or by C code, to stderr; give the real stdout."""
    real = sys.stdout
    real.flush()
    kept = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield real
    finally:
        _flush_c()
        os.dup2(kept, STDOUT)
        os.close(kept)


def write_json(data: Mapping[str, Any], stream: TextIO) -> None:
    """``data`` on one line. A number that is not finite becomes null: JSON has no word for it."""
    print(json.dumps(_finite(data), allow_nan=False), file=stream, flush=True)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_finite(item) for item in value]
    return value


def _flush_c() -> None:
    """C code keeps what it prints until its buffer is full: write it now, while it still goes to stderr."""
    with contextlib.suppress(OSError, TypeError, AttributeError):  # no C library to be had by this name
        ctypes.CDLL(None).fflush(None)
