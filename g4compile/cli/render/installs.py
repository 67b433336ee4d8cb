"""What `doctor` found, as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping

from g4compile.requirements import BASE, BROKEN, COMPILE, RUNTIME, Requirement, install_command

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


def _target(name: str, ready: bool) -> str:
    return "compiles here" if ready else f"does not compile here; `g4compile compile --target {name}` says why"
