"""What makes a function a verb: its answer is printed, and its errors become one message and an exit code."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ParamSpec

import typer

from g4compile.cli.render.messages import error as show_error
from g4compile.cli.render.messages import warning as show_warning
from g4compile.cli.streams import stdout_to_stderr, write_json
from g4compile.errors import Defect, G4Error, InputError, MachineError
from g4compile.inputs.documents import is_text, shown
from g4compile.inputs.system import system_error
from g4compile.requirements import lacking

P = ParamSpec("P")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else there.")]
_INTERRUPTED = 130


@dataclass(frozen=True)
class Answer:
    """What a verb found: ``data`` for --json, ``show`` for people; ``failed`` when a check did not pass."""

    data: Mapping[str, Any]
    show: Callable[[], None]
    failed: G4Error | None = None


def verb(function: Callable[P, Answer]) -> Callable[P, None]:
    """The command of ``function``, whose parameter ``as_json`` is the option --json.

    Errors of the user and of the machine give no traceback.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        if kwargs.get("as_json"):
            with stdout_to_stderr() as stdout:
                answer = _answer(function, *args, **kwargs)
            if isinstance(answer, G4Error):
                write_json(answer.as_json(), stdout)
                raise typer.Exit(answer.code)
            write_json(answer.data, stdout)
        else:
            answer = _answer(function, *args, **kwargs)
            if isinstance(answer, G4Error):
                show_error(answer)
                raise typer.Exit(answer.code)
            answer.show()
        if answer.failed is not None:
            show_error(answer.failed)
            raise typer.Exit(answer.failed.code)

    return run


def _answer(function: Callable[P, Answer], *args: P.args, **kwargs: P.kwargs) -> Answer | G4Error:
    """What ``function`` returns, or the error that says why it returns nothing."""
    try:
        _check_text(kwargs)
        with _warnings_shown():
            return function(*args, **kwargs)
    except G4Error as problem:
        return problem
    except ModuleNotFoundError as problem:
        return lacking(problem)
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    except (typer.Exit, BrokenPipeError):
        raise
    except OSError as problem:  # those of files that no reader expected
        return system_error(problem, f"the work of {function.__name__}")
    except MemoryError as problem:
        return MachineError("the memory of this machine is not enough", why=str(problem), fix="free some memory")
    except Exception as problem:
        return _unexpected(problem)


@contextlib.contextmanager
def _warnings_shown() -> Iterator[None]:
    """Show what is warned about as one line, and not as a place in a source."""
    given = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if category is UserWarning:
            show_warning(str(message))
        else:  # for whoever develops the library that warns
            given(message, category, *where, **more)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = given


def _check_text(given: Mapping[str, object]) -> None:
    """Raise InputError for a path or a text that is not UTF-8."""
    for name, value in given.items():
        for one in value if isinstance(value, list | tuple) else (value,):
            if isinstance(one, str | Path) and not is_text(str(one)):
                raise InputError(f"{name} is not UTF-8: {shown(str(one))}", fix="give it as UTF-8, or rename the file")


def _unexpected(problem: Exception) -> Defect:
    """The defect that ``problem`` is. Its traceback goes into a file, which is what a report needs, or, where none can
    be written, into the message."""
    what = f"unexpected {type(problem).__name__}: {problem}"
    found = "".join(traceback.format_exception(problem))
    try:
        handle, name = tempfile.mkstemp(prefix="g4compile-defect-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as out:
            out.write(found)
    except OSError:
        return Defect(what, why=found)
    fix = "this is a defect of g4compile: please report it with the file above, which you may delete then"
    return Defect(what, where=name, fix=fix)
