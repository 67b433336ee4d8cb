"""Stdout of a verb under --json: one valid JSON object, and nothing else.

Libraries print to stdout too, some of them to the file descriptor itself (ONNX Runtime, when a provider fails). While
the work runs, both go to stderr; the object is written to the real stdout at the end.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

STDOUT, STDERR = 1, 2


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[TextIO]:
    """Send what is printed to stdout, by Python or by C code, to stderr; give the real stdout."""
    real = sys.stdout
    real.flush()
    try:
        kept = os.dup(STDOUT)
    except OSError:  # a process without a stdout
        with contextlib.redirect_stdout(sys.stderr):
            yield real
        return
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
