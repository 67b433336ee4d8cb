"""`g4compile opt`: any pass alone, on a graph in text form."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from g4compile.cli.verb import Answer, Json, verb


@verb
def opt(
    file: Annotated[Path, typer.Argument(help="A graph in ONNX text syntax; - reads stdin.")],
    passes: Annotated[str, typer.Option("-p", "--passes", help="name{option=value,...}, ... in order.")],
    as_json: Json = False,
) -> Answer:
    """Run passes on a graph and print it. The graph's specs are checked after each."""
    from g4compile.graph.source import GRAPH, decode_graph, read_graph_text
    from g4compile.requirements import COMPILE, require

    if str(file) == "-":
        source = decode_graph(sys.stdin.buffer.read(GRAPH.limit + 1), "stdin")
    else:
        source = read_graph_text(file)
    require(COMPILE, "opt")
    from g4compile.targets.alone import run_on_text

    text = run_on_text(source, passes, where=str(file))
    return Answer({"graph": text}, lambda: print(text, end=""))
