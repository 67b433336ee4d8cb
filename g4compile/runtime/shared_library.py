"""Where a library of ours stands, and how it is loaded.

They stand in the package, in `lib`, when the install found a compiler (`docs/design/0008-packaging.md`). A variable of
the environment names another file, for work on the library itself. A bundle never says which file is loaded.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g4compile.errors import MachineError

FOLDER = Path(__file__).parents[1] / "lib"
# pip keeps a wheel that it built before there was a compiler.
FIX = "with a C++20 compiler: pip install --force-reinstall --no-deps --no-cache-dir g4compile; in a clone: make native"


@dataclass(frozen=True)
class SharedLibrary:
    """``name``: of the file, without its ending. ``variable``: of the environment."""

    name: str
    variable: str

    def find(self) -> Path | None:
        """The file that is named, whether it is there or not, or that of this install; None when there is none."""
        named = os.environ.get(self.variable)
        file = Path(named) if named else FOLDER / f"{self.name}.so"
        return file if named or file.exists() else None

    def load(self, file: Path, functions: Sequence[str]) -> tuple[ctypes.CDLL, list[Any]]:
        """The library in ``file`` and its ``functions``. Raises MachineError where it does not load or lacks one."""
        try:
            loaded = ctypes.CDLL(str(file.resolve()))
            return loaded, [getattr(loaded, function) for function in functions]
        except (OSError, AttributeError, ValueError) as failure:  # no such file, of another machine, another library
            fix = f"correct {self.variable}, or unset it" if os.environ.get(self.variable) else FIX
            raise MachineError(
                f"the library {self.name} cannot be loaded", where=str(file), why=str(failure), fix=fix
            ) from None

    def missing(self, purpose: str) -> MachineError:
        """That ``purpose`` needs the library, and it is not here."""
        where = FOLDER / f"{self.name}.so"
        return MachineError(f"{purpose} needs the library {self.name}, which is not here", where=str(where), fix=FIX)

    def register(self, options: Any, file: Path) -> None:
        """Give ONNX Runtime's session ``options`` the ops in ``file``. Raises MachineError when it takes none."""
        try:
            options.register_custom_ops_library(str(file.resolve()))
        except Exception as error:  # ONNX Runtime raises a dozen types of its own; all mean the same here
            raise MachineError(
                f"ONNX Runtime does not take the library {self.name}",
                where=str(file),
                why=next(iter(str(error).splitlines()), type(error).__name__),
                fix="check `g4compile doctor`",
            ) from error
