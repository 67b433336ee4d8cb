"""`g4compile embed`: a project around a bundle, for a program in C, C++, Kotlin or Swift."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from g4compile.cli.render.sizes import size
from g4compile.cli.render.tables import table
from g4compile.cli.verb import Answer, Json, verb


@verb
def embed(
    bundle: Annotated[Path, typer.Argument(help="A bundle of the target onnx-cpu or onnx-mobile.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The new project folder.")],
    platform: Annotated[str, typer.Option(help="linux, android or ios.")],
    as_json: Json = False,
) -> Answer:
    """Write a ready project around a bundle: the bundle, libg4rt or its sources, and a program that chats."""
    from g4compile.bundle.folder import Bundle
    from g4compile.embedding.project import embed as write_project

    opened = Bundle.open(bundle)
    made = write_project(opened, output, platform)
    tables = opened.manifest.text_tables
    data = {
        "project": str(output),
        "platform": made.platform.name,
        "files": made.files,
        "project_bytes": made.bytes,
        "bundle_linked": made.linked,
        "tokenizer": tables is not None and tables.tokenizer is not None,
        "chat": tables is not None and tables.chat is not None,
        "not_run": made.platform.not_run,
    }
    rows = {
        "platform": made.platform.name,
        "size": f"{size(made.bytes)}, {made.files} files; the bundle's are "
        + ("hard links to those of the bundle" if made.linked else "copies"),
        "next": str(output / "README.md"),
    }
    if made.platform.not_run:
        rows["not run"] = made.platform.not_run
    if not data["tokenizer"]:
        rows["no text"] = "the bundle has no table of its tokenizer: change the program to take and give token ids"
    elif not data["chat"]:
        rows["no chat"] = (
            "the bundle has no table of its chat template: each message is given to the model as plain text"
        )
    return Answer(data, lambda: table(f"wrote {output}", rows))
