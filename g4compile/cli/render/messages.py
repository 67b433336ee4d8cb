"""Errors, warnings, notes and verdicts: in colour on a terminal only, plain text everywhere else."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO

from g4compile.errors import G4Error


def error(problem: G4Error) -> None:
    """What happened, where, why and what to try, on stderr. A stderr that cannot be written changes no exit code."""
    with contextlib.suppress(OSError):
        _write("error:", "bold red", f" {_printable(str(problem))}", sys.stderr)


def note(text: str) -> None:
    """What was done that nobody asked for, on stderr."""
    with contextlib.suppress(OSError):
        _write("note:", "bold", f" {_printable(text)}", sys.stderr)


def warning(text: str) -> None:
    """What went otherwise than one may expect, on stderr."""
    with contextlib.suppress(OSError):
        _write("warning:", "bold yellow", f" {_printable(text)}", sys.stderr)


def verdict(good: bool, text: str) -> None:
    """The last line of a check, on stdout: green when it passed, red when not."""
    _write(text, "bold green" if good else "bold red", "", sys.stdout)


def _printable(text: str) -> str:
    """``text`` with control characters escaped: messages quote files, and a terminal would obey what stands in them."""
    return "".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in text)


def _write(marked: str, style: str, rest: str, stream: TextIO) -> None:
    """``marked`` in ``style``, ``rest`` as it is. Lines are never wrapped, so that they can be searched and copied."""
    if not stream.isatty() or "NO_COLOR" in os.environ:
        print(f"{marked}{rest}", file=stream)
        return
    from rich.console import Console
    from rich.text import Text

    Console(file=stream, highlight=False).print(Text.assemble((marked, style), rest), soft_wrap=True)
