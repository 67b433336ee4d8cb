"""Where the sources, headers and libraries of libg4rt stand: in the package, or in a clone beside it."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from g4compile.errors import MachineError
from g4compile.runtime.shared_library import FIX, FOLDER

_PACKAGE = Path(__file__).parents[1]
_CLONE = _PACKAGE.parent
_FROM_PYPI = "install onnxruntime from PyPI, for Linux"
# Of the folder `native`, what a project builds the libraries from.
PARTS = ("CMakeLists.txt", "cmake", "include", "src")


def sources() -> Path:
    """The folder with `PARTS`. Raises MachineError when this install has none."""
    for folder in (_PACKAGE / "native", _CLONE / "native"):
        if (folder / "include" / "g4rt.h").exists():
            return folder
    raise MachineError("this install has no sources of libg4rt", where=str(_PACKAGE), fix=FIX)


def licenses(with_onnxruntime: bool) -> dict[str, Path]:
    """Texts that go with what a project is made of, by their names in it. Raises MachineError."""
    own = _CLONE / "LICENSE" if sources().parent == _CLONE else _installed("LICENSE")
    if not with_onnxruntime:
        return {"g4compile-LICENSE": own}
    runtime = _onnxruntime()
    found = {f"onnxruntime-{name}": runtime / name for name in ("LICENSE", "ThirdPartyNotices.txt")}
    for file in found.values():
        if not file.exists():
            raise MachineError(f"the package onnxruntime has no {file.name}", where=str(file), fix=_FROM_PYPI)
    return {"g4compile-LICENSE": own, **found}


def _installed(name: str) -> Path:
    """A file beside the metadata of this install."""
    for file in metadata.files("g4compile") or ():
        if file.name == name:
            return Path(str(file.locate()))
    raise MachineError(f"this install of g4compile has lost its file {name}", where=str(_PACKAGE), fix=FIX)


def _onnxruntime() -> Path:
    from g4compile.runtime.onnx_runtime import ort  # late: `doctor` asks for sources where it is missing

    return Path(ort.__file__).parent


def libraries(with_ops: bool) -> dict[str, Path]:
    """Files by their names in a project: libg4rt, ONNX Runtime, and libg4ops where a bundle needs it. Raises
    MachineError for one that is not here."""
    found = {name: FOLDER / name for name in ("libg4rt.so", *(("libg4ops.so",) if with_ops else ()))}
    for name, file in found.items():
        if not file.exists():
            raise MachineError(f"the library {name} is not here", where=str(file), fix=FIX)
    package = _onnxruntime()
    runtime = sorted((package / "capi").glob("libonnxruntime.so.*"))
    if not runtime:
        raise MachineError(
            "the package onnxruntime has no libonnxruntime.so",
            where=str(package),
            fix=_FROM_PYPI,
        )
    return {**found, "libonnxruntime.so.1": runtime[-1]}
