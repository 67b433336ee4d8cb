"""What all verbs share at the terminal: result printing, progress, and turning errors into exit codes.

With --json, stdout holds one JSON object and nothing else; progress goes to stderr, and only to a terminal.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ParamSpec

import typer

from g4compile.errors import Defect, G4Error, InputError, MachineError

P = ParamSpec("P")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]


def verb(function: Callable[P, None]) -> Callable[P, None]:
    """A verb whose errors become one message and the right exit code; never a traceback for errors of the user."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        as_json = bool(kwargs.get("as_json"))
        try:
            function(*args, **kwargs)
        except G4Error as error:
            _fail(error, as_json)
        except ModuleNotFoundError as error:
            _fail(
                MachineError(
                    f"the Python package {error.name} is not installed",
                    fix=f"pip install {error.name}, or install g4compile again; `g4compile doctor` lists what it needs",
                ),
                as_json,
            )
        except (KeyboardInterrupt, BrokenPipeError):
            raise typer.Exit(130) from None
        except typer.Exit:
            raise
        except Exception as error:
            _fail(_unexpected(error), as_json)

    return run


def _fail(error: G4Error, as_json: bool) -> None:
    if as_json:
        print(json.dumps(error.as_json()))
    else:
        print(f"error: {error}", file=sys.stderr)
    raise typer.Exit(error.code)


def _unexpected(error: Exception) -> Defect:
    handle, name = tempfile.mkstemp(prefix="g4compile-defect-", suffix=".txt")
    with os.fdopen(handle, "w") as out:
        out.write("".join(traceback.format_exception(error)))
    return Defect(
        f"unexpected {type(error).__name__}: {error}",
        where=name,
        fix="this is a defect of g4compile: please report it with the file above",
    )


def result(as_json: bool, data: Mapping[str, Any], show: Callable[[], None]) -> None:
    """Print ``data`` as JSON, or call ``show`` for people."""
    if as_json:
        print(json.dumps(data))
    else:
        show()


def table(title: str, rows: Mapping[str, str]) -> None:
    """Two columns on stdout, never wrapped: lines can be searched and copied."""
    width = max(map(len, rows), default=0)
    print(title)
    for name, value in rows.items():
        print(f"  {name:<{width}}  {value}")


@contextlib.contextmanager
def status(first: str) -> Iterator[Callable[[str], None]]:
    """A spinner with the current step, on stderr; silent when stderr is no terminal."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    from rich.console import Console

    with Console(stderr=True).status(first) as spinner:
        yield spinner.update


@contextlib.contextmanager
def bar(first: str) -> Iterator[Callable[[str, int, int], None]]:
    """As `status`, with a bar, bytes and the time left once there is a total."""
    if not sys.stderr.isatty():
        yield lambda text, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    columns = (SpinnerColumn(), BarColumn(20), TextColumn("{task.fields[bytes]}"), TimeRemainingColumn(compact=True))
    with Progress(*columns, TextColumn("{task.description}"), console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(first, total=None, bytes="")

        def report(text: str, done: int, total: int) -> None:
            written = f"{size(done)} of {size(total)}" if total else ""
            shown.update(task, description=text, completed=done, total=total or None, bytes=written)

        yield report


def size(count: int) -> str:
    """1,234,567 bytes as 1.2 MB (powers of ten)."""
    value, unit = float(count), "B"
    for bigger in ("kB", "MB", "GB"):
        if value < 1000:
            break
        value, unit = value / 1000, bigger
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"


def parse_size(text: str) -> int:
    """`512MB`, `4GiB`, `1000` as bytes. Raises InputError."""
    units = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
    number = text.rstrip("abgikmABGIKM ")
    try:
        return int(float(number) * units[text[len(number) :].strip().upper()])
    except (KeyError, ValueError):
        raise InputError(f"{text!r} is not a size", fix="write for example 500MB or 4GiB") from None


def parse_capabilities(text: str) -> tuple[int, ...]:
    """`80,89,120` as compute capabilities. Raises InputError."""
    try:
        return tuple(int(word.strip().lower().removeprefix("sm").replace(".", "")) for word in text.split(",") if word)
    except ValueError:
        raise InputError(f"{text!r} is not a list of compute capabilities", fix="write for example 80,89,120") from None


def existing_or_name(path: str) -> str | Path:
    """A path when it exists, else the text as it is (a preset or a Hub id)."""
    return Path(path) if Path(path).exists() else path
