"""`g4compile doctor`: what is installed, what each target needs, and the fix for what is missing."""

from __future__ import annotations

import platform
from typing import Annotated

import typer

from g4compile.cli.render.installs import (
    builder_rows,
    cuda_rows,
    embedding_row,
    install_rows,
    library_row,
)
from g4compile.cli.render.tables import table
from g4compile.cli.verb import Answer, Json, verb


@verb
def doctor(
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 3 when the install is broken.")] = False,
    as_json: Json = False,
) -> Answer:
    """Show versions, and how to get what is missing."""
    import g4compile
    from g4compile.errors import MachineError
    from g4compile.requirements import BASE, BROKEN, COMPILE, REQUIREMENTS, fixes, install_kind
    from g4compile.runtime import packages

    kind, runtime = install_kind(), packages.fault()
    found, targets, builders = fixes(kind), dict[str, bool](), dict[str, dict[str, str]]()
    if runtime is not None:  # its records say that it is here
        kind, found = BROKEN, {packages.PLAIN: runtime.fix, **found}
    if kind == COMPILE:
        from g4compile.targets import compiles_here
        from g4compile.targets.tensorrt.probe import builders as builders_here

        builders = builders_here()
        targets = {name: ready and "error" not in builders.get(name, {}) for name, ready in compiles_here().items()}
    versions = {one: one.version or "unknown" if one.present else None for one in REQUIREMENTS}
    data = {
        "g4compile": g4compile.__version__,
        "python": platform.python_version(),
        "install": kind,
        "packages": {one.module: text for one, text in versions.items() if one.extra in (BASE, COMPILE)},
        "optional": {one.module: text for one, text in versions.items() if one.extra not in (BASE, COMPILE)},
        "fixes": found,
        "targets": targets,
    }
    library, data["libg4ops"] = library_row()
    embedding, data["libg4rt"] = embedding_row()
    cuda, data["cuda"] = cuda_rows()
    data["builders"] = builders
    failed = None
    if strict and found:
        failed = MachineError(f"the install is broken: {', '.join(found)}", fix="; ".join(found.values()))
    rows = {
        "g4compile": g4compile.__version__,
        "python": f"{platform.python_version()} on {platform.machine()}",
        **install_rows(kind, versions, found, targets),
        **builder_rows(builders),
        "libg4ops": library,
        "libg4rt": embedding,
        **cuda,
    }
    return Answer(data, lambda: table("g4compile doctor", rows), failed)
