"""`g4compile inspect`: what is in a bundle or a checkpoint; the graph at any stage, as text."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from g4compile.cli.arguments import existing_or_name
from g4compile.cli.render.progress import progress
from g4compile.cli.render.tables import table
from g4compile.cli.verb import Answer, Json, verb


@verb
def inspect(
    path: Annotated[str, typer.Argument(help="A bundle, a checkpoint folder, a config.json, or a preset.")],
    graph: Annotated[
        str,
        typer.Option(
            help="Print the graph at this stage: traced, canonical, fused, scheduled, quantized, legal:onnx-cpu."
        ),
    ] = "",
    part: Annotated[str, typer.Option(help="Of --graph: decoder, vision or audio.")] = "decoder",
    as_json: Json = False,
) -> Answer:
    """Show what a bundle or checkpoint holds, or its graph at a stage."""
    import msgspec

    from g4compile.bundle.folder import Bundle
    from g4compile.cli.render.bundles import bundle_rows, config_rows
    from g4compile.planning.describe import describe_bundle, describe_config, is_bundle

    if graph:
        text = _graph(path, graph, part)
        return Answer({"stage": graph, "part": part, "graph": text}, lambda: print(text, end=""))
    if is_bundle(path):
        bundle = Bundle.open(path)
        return Answer(describe_bundle(bundle), lambda: table(path, bundle_rows(bundle)))
    found = describe_config(existing_or_name(path))
    data: dict[str, Any] = msgspec.to_builtins(found)
    return Answer(data, lambda: table(path, config_rows(found)))


def _graph(path: str, stage: str, part: str) -> str:
    from g4compile.bundle.folder import Bundle
    from g4compile.planning.describe import bundle_graph, describe_config, is_bundle
    from g4compile.requirements import COMPILE, require

    require(COMPILE, "inspect --graph")
    if is_bundle(path):
        return bundle_graph(Bundle.open(path), stage, part)
    from g4compile.planning.stages import graph_at

    source = existing_or_name(path)
    describe_config(source)  # for its errors
    with progress("trace") as report:
        return graph_at(source, stage, part, report)
