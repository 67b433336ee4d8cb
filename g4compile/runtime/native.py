"""The library libg4ops, whose ops the graphs of some bundles have: where it is, and whether it is the right one.

`G4OPS_LIBRARY` in the environment names another one than that of the install (`shared_library.py`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g4compile.bundle.manifest import PANELS
from g4compile.bundle.requires import G4OPS
from g4compile.errors import MachineError
from g4compile.runtime.shared_library import FIX, SharedLibrary

_SHARED = SharedLibrary("libg4ops", "G4OPS_LIBRARY")
_FUNCTIONS = ("g4ops_layout_version", "g4ops_kernels", "g4ops_kernels_name", "g4ops_last_error")


@dataclass(frozen=True)
class Library:
    """``file``: where it was found. ``kernels``: the name of those that it chose for this machine."""

    file: Path
    kernels: str


def find_library() -> Library | None:
    """The library of this install; None when there is none. Raises MachineError for one that cannot be used: it does
    not load, reads another layout of weights, or has no kernels for this machine."""
    file = _SHARED.find()
    if file is None:
        return None
    _, (version, kernels, name, error) = _SHARED.load(file, _FUNCTIONS)
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
        raise _SHARED.missing(purpose)
    return found


def add_ops(options: Any, requires: Collection[str]) -> None:
    """Give ONNX Runtime's session ``options`` the ops that a bundle which ``requires`` these words needs. Raises
    MachineError when they are not here."""
    if G4OPS in requires:
        _SHARED.register(options, require_library("this bundle").file)
