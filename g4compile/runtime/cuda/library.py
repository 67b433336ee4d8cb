"""The library libg4cuda, whose ops launch the kernels of a bundle: where it is, and what a session tells it.

`G4CUDA_LIBRARY` in the environment names another one than that of the install (`shared_library.py`). The functions are
declared in `native/include/g4cuda.h`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from g4compile.errors import MachineError
from g4compile.runtime.shared_library import FIX, SharedLibrary

VERSION = 2  # of the library's functions, and of what its ops read in a plan
_SHARED = SharedLibrary("libg4cuda", "G4CUDA_LIBRARY")
_FUNCTIONS = ("g4cuda_version", "g4cuda_last_error", "g4cuda_add_kernel", "g4cuda_load_kernels")


class CompiledKernel(Protocol):
    """A kernel for one GPU. ``image``: a cubin, or PTX. ``threads``: of a block. ``shared``: bytes of dynamic shared
    memory. ``dependent``: it may start before the kernel in front of it has ended. ``grid``: three expressions over the
    integer arguments of a launch."""

    @property
    def name(self) -> str: ...
    @property
    def image(self) -> bytes: ...
    @property
    def entry(self) -> str: ...
    @property
    def threads(self) -> int: ...
    @property
    def shared(self) -> int: ...
    @property
    def dependent(self) -> bool: ...
    @property
    def grid(self) -> tuple[str, str, str]: ...


@dataclass(frozen=True)
class Library:
    """``file``: where it was found."""

    file: Path
    _add_kernel: Any = field(repr=False)
    _load_kernels: Any = field(repr=False)
    _last_error: Any = field(repr=False)

    def add_kernels(self, kernels: Iterable[CompiledKernel]) -> None:
        """Give the library ``kernels``, for the whole process. Raises MachineError for one that differs from a kernel
        of its name that another session gave, or that no launch can use."""
        for one in kernels:
            status = self._add_kernel(
                one.name.encode(), one.image, len(one.image), one.entry.encode(), one.threads, one.shared,
                int(one.dependent), " ".join(one.grid).encode(),
            )  # fmt: skip
            self._check(status, f"the library libg4cuda does not take the kernel {one.name}")

    def load_kernels(self) -> None:
        """Load all kernels in the CUDA context that is current on this thread. Raises MachineError where there is none,
        no driver, or the driver refuses a kernel."""
        self._check(self._load_kernels(), "the kernels of the bundle cannot be loaded on this GPU")

    def register(self, options: Any) -> None:
        """Give ONNX Runtime's session ``options`` the ops. Raises MachineError when it does not take them."""
        _SHARED.register(options, self.file)

    def _check(self, status: int, what: str) -> None:
        if status:
            why = self._last_error().decode(errors="replace")
            raise MachineError(what, where=str(self.file), why=why, fix="check `g4compile doctor`, and the words above")


def find_library() -> Library | None:
    """The library of this install; None when there is none. Raises MachineError for one that does not load or is of
    another version."""
    file = _SHARED.find()
    if file is None:
        return None
    _, (version, last_error, add_kernel, load_kernels) = _SHARED.load(file, _FUNCTIONS)
    if version() != VERSION:
        raise MachineError(
            f"the library libg4cuda has version {version()}, this g4compile needs {VERSION}", where=str(file), fix=FIX
        )
    last_error.restype = ctypes.c_char_p
    add_kernel.argtypes = [
        ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_uint32, ctypes.c_uint32,
        ctypes.c_int, ctypes.c_char_p,
    ]  # fmt: skip
    return Library(file, add_kernel, load_kernels, last_error)


def require_library(purpose: str) -> Library:
    """As `find_library`. Raises MachineError, which names ``purpose``, when there is none too."""
    found = find_library()
    if found is None:
        raise _SHARED.missing(purpose)
    return found
