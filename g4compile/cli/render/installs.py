"""What `doctor` found, as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping

from g4compile.bundle.requires import G4OPS
from g4compile.embedding.native_files import sources
from g4compile.errors import MachineError
from g4compile.requirements import BASE, BROKEN, COMPILE, RUNTIME, Requirement, install_command
from g4compile.runtime.cuda.present import present
from g4compile.runtime.native import find_library
from g4compile.runtime.shared_library import FIX, FOLDER

_KINDS = {
    COMPILE: "whole: compiles, verifies and runs",
    RUNTIME: f"runtime: runs ONNX bundles; to compile: {install_command(COMPILE)}",
    BROKEN: "broken: see the fixes below",
}


def install_rows(
    kind: str, versions: Mapping[Requirement, str | None], fixes: Mapping[str, str], targets: Mapping[str, bool]
) -> dict[str, str]:
    """``versions``: None for what is missing. ``fixes``: commands by module. ``targets``: whether it compiles here."""
    rows = {"install": _KINDS[kind]}
    for one, version in versions.items():
        needed = one.extra == BASE or (one.extra == COMPILE and kind != RUNTIME)
        what = f"{version or ('missing' if needed else 'not installed')} ({one.lowest} or newer: {one.purpose})"
        install = "" if needed or one.met else f"  {one.install}"
        rows[one.module] = what + (f"  fix: {fixes[one.module]}" if one.module in fixes else install)
    return rows | {f"target {name}": _target(name, ready) for name, ready in targets.items()}


def library_row() -> tuple[str, dict[str, str]]:
    """Whether libg4ops is here, for people and as data: its `file` and `kernels`, or the `fix`."""
    try:
        found = find_library()
    except MachineError as error:
        return f"cannot be used: {error.what}  fix: {error.fix}", {"error": error.what, "fix": error.fix}
    if found is None:
        return f"not here; products with codes are ONNX Runtime's own  {FIX}", {"fix": FIX}
    return f"{found.file}, kernels {found.kernels}", {"file": str(found.file), "kernels": found.kernels}


def embedding_row() -> tuple[str, dict[str, str]]:
    """Whether libg4rt and its sources are here, which `embed` puts into projects: for people and as data."""
    file, fix = FOLDER / "libg4rt.so", {"fix": FIX}
    try:
        found = {"sources": str(sources())}
    except MachineError as error:
        return f"{error.what}  {FIX}", fix
    if not file.exists():
        return f"not here; `embed` writes no project for linux  {FIX}", found | fix
    return f"{file}, for `embed`", {"file": str(file), **found}


def cuda_rows() -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """What runs bundles of the target onnx-cuda: rows for people, and data."""
    found = present()
    rows = {f"onnx-cuda: {name}": one.get("found") or f"{one['error']}  {one['fix']}" for name, one in found.items()}
    return rows, found


def builder_rows(builders: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Whether each product of TensorRT that is installed makes a builder (`targets/tensorrt/probe.py`)."""
    rows = {}
    for name, one in builders.items():
        why = f": {one['why']}" if "why" in one else ""
        rows[f"{name}: builder"] = one.get("found") or f"{one['error']}{why}  {one['try']}"
    return rows


def kernels_row(kernels: str) -> str:
    """Whose ``kernels`` read the codes of a bundle."""
    if kernels == G4OPS:
        return "those of libg4ops, which every machine that runs the bundle needs"
    missing = "" if library_row()[1].get("file") else f"; libg4ops is not here: {FIX}"
    return f"ONNX Runtime's own{missing}"


def _target(name: str, ready: bool) -> str:
    return "compiles here" if ready else f"does not compile here; `g4compile compile --target {name}` says why"
