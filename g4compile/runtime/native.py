"""The library libg4ops, whose ops the graphs of some bundles have: where it is, and whether it is the right one.

It stands in the package, at `lib/libg4ops.so`, when the install found a compiler (`docs/design/0008-packaging.md`).
`G4OPS_LIBRARY` in the environment names another one, for work on the library itself. A bundle never says which file is
loaded.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g4compile.bundle.manifest import PANELS
from g4compile.bundle.requires import G4OPS
from g4compile.errors import MachineError

VARIABLE = "G4OPS_LIBRARY"
# pip keeps a wheel that it built before there was a compiler.
FIX = "with a C++20 compiler: pip install --force-reinstall --no-deps --no-cache-dir g4compile; in a clone: make native"
_BESIDE = Path(__file__).parents[1] / "lib" / "libg4ops.so"


@dataclass(frozen=True)
class Library:
    """``file``: where it was found. ``kernels``: the name of those that it chose for this machine."""

    file: Path
    kernels: str


def find_library() -> Library | None:
    """The library of this install; None when there is none. Raises MachineError for one that cannot be used: it does
    not load, reads another layout of weights, or has no kernels for this machine."""
    named = os.environ.get(VARIABLE)
    file = Path(named) if named else _BESIDE
    if not named and not file.exists():
        return None
    try:
        loaded = ctypes.CDLL(str(file.resolve()))
        version, kernels, name, error = (
            getattr(loaded, f"g4ops_{one}") for one in ("layout_version", "kernels", "kernels_name", "last_error")
        )
    except (OSError, AttributeError, ValueError) as failure:  # no such file, of another machine, another library
        fix = f"correct {VARIABLE}, or unset it" if named else FIX
        raise MachineError(
            "the library libg4ops cannot be loaded", where=str(file), why=str(failure), fix=fix
        ) from None
    layout = f"{PANELS.rpartition('-')[0]}-{version()}"
    if layout != PANELS:
        raise MachineError(
            f"the library libg4ops reads weights in the layout {layout}, this g4compile writes {PANELS}",
            where=str(file),
            fix=FIX,
        )
    kernels.restype, kernels.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    name.restype, name.argtypes, error.restype = ctypes.c_char_p, [ctypes.c_void_p], ctypes.c_char_p
    chosen = kernels(None)
    if not chosen:
        why = error().decode(errors="replace")
        raise MachineError("the library libg4ops has no kernels for this machine", where=str(file), why=why, fix=FIX)
    return Library(file, name(chosen).decode())


def require_library(purpose: str) -> Library:
    """As `find_library`. Raises MachineError, which names ``purpose``, when there is none too."""
    found = find_library()
    if found is None:
        raise MachineError(f"{purpose} needs the library libg4ops, which is not here", where=str(_BESIDE), fix=FIX)
    return found


def add_ops(options: Any, requires: Collection[str]) -> None:
    """Give ONNX Runtime's session ``options`` the ops that a bundle which ``requires`` these words needs. Raises
    MachineError when they are not here."""
    if G4OPS not in requires:
        return
    library = require_library("this bundle")
    try:
        options.register_custom_ops_library(str(library.file.resolve()))
    except Exception as error:  # ONNX Runtime raises a dozen types of its own; all mean the same here
        raise MachineError(
            "ONNX Runtime does not take the library libg4ops",
            where=str(library.file),
            why=next(iter(str(error).splitlines()), type(error).__name__),
            fix="check `g4compile doctor`",
        ) from error
