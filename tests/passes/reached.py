"""Which statements of passes that refuse a graph (`raise`, or a call of `expect`) the reject cases reach.

An error knows by its traceback where it was raised and through which calls, so the cases need no tracer.
"""

from __future__ import annotations

import ast
import inspect
import traceback
from collections.abc import Iterable
from pathlib import Path

from g4compile import passes
from g4compile.errors import G4Error
from g4compile.targets import target_passes

Place = tuple[str, int]  # file, line


def files_of_passes() -> list[Path]:
    """Everything under `g4compile/passes`, and the files of the targets' own passes."""
    (room,) = passes.__path__
    own = {Path(inspect.getfile(kind)) for kind in target_passes().values()}
    return sorted({*Path(room).rglob("*.py"), *own})


def refusals_in(source: str) -> list[tuple[int, int]]:
    """First and last line of each `raise`, and of each statement that is a call of `expect`."""
    found = (node for node in ast.walk(ast.parse(source)) if _refuses(node))
    return sorted((node.lineno, node.end_lineno or node.lineno) for node in found)


def _refuses(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return isinstance(node.value.func, ast.Name) and node.value.func.id == "expect"
    return isinstance(node, ast.Raise)


def places_of(error: G4Error) -> set[Place]:
    """Every place that ``error``, or one that it stands for, came through."""
    found: set[Place] = set()
    cause: BaseException | None = error
    while cause is not None:
        found |= {(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(cause.__traceback__)}
        cause = cause.__cause__
    return found


def not_reached(files: Iterable[Path], reached: set[Place]) -> list[str]:
    """`FILE:LINE` and the statement's first line, of each statement that refuses and is in none of ``reached``."""
    missing = []
    for file in files:
        source = file.read_text(encoding="utf-8")
        for first, last in refusals_in(source):
            if not any((str(file), line) in reached for line in range(first, last + 1)):
                missing.append(f"{file.name}:{first}: {source.splitlines()[first - 1].strip()}")
    return missing
