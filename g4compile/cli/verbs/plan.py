"""`g4compile plan`: what a compile would give, before it is done."""

from __future__ import annotations

from typing import Annotated

import typer

from g4compile.cli.arguments import existing_or_name, parse_modalities
from g4compile.cli.render.progress import progress
from g4compile.cli.verb import Answer, Json, verb


@verb
def plan(  # noqa: PLR0913 - a verb has one parameter per option
    source: Annotated[str, typer.Argument(help="A checkpoint folder, a config.json, or a preset.")],
    target: Annotated[str, typer.Option(help="What to compile for: onnx-cpu, onnx-mobile, onnx-cuda.")],
    weights: Annotated[
        str | None,
        typer.Option(
            help="float32, bfloat16, int8, int4, int4-channel, int2, mobile, or a recipe file. "
            "Default: the target's, or as stored."
        ),
    ] = None,
    context: Annotated[
        int | None, typer.Option(help="Tokens the KV state holds. Default: 4,096, or the target's.")
    ] = None,
    kv: Annotated[
        str | None, typer.Option(help="How keys and values are kept: float32, int8, or bfloat16 with g4ops.")
    ] = None,
    kernels: Annotated[
        str | None, typer.Option(help="Of products with codes: g4ops or onnxruntime. Default: those that are here.")
    ] = None,
    modalities: Annotated[
        str | None, typer.Option(help="What the bundle can take in, as text,image. Default: all that there is.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Profile for speeds: server-2-cores (the default), laptop, phone; of onnx-cuda h100 (the default), "
            "h200, b200, a100, l4, rtx-4090."
        ),
    ] = None,
    measure_device: Annotated[
        bool, typer.Option("--measure-device", help="Measure this machine's processor instead, and libg4ops on it.")
    ] = False,
    as_json: Json = False,
) -> Answer:
    """Bytes, KV, operations and the speed that follows, from headers alone."""
    import msgspec

    import g4compile
    from g4compile.requirements import COMPILE, require

    require(COMPILE, "plan")
    from g4compile.cli.render.plans import show_plan
    from g4compile.planning.device import device_named
    from g4compile.planning.device import measure_device as measure

    takes = None if modalities is None else parse_modalities(modalities)
    with progress("measure this machine"):
        chosen = measure() if measure_device else None if device is None else device_named(device)
    made = g4compile.plan(existing_or_name(source), target, weights, context, kv, chosen, kernels, takes)
    return Answer(msgspec.to_builtins(made), lambda: show_plan(source, made))
