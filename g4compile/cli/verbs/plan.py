"""`g4compile plan`: what a compile would give, before it is done."""

from __future__ import annotations

from typing import Annotated

import typer

from g4compile.cli.console import Json, existing_or_name, result, size, status, table, verb


@verb
def plan(
    source: Annotated[str, typer.Argument(help="A checkpoint folder, a config.json, or a preset.")],
    target: Annotated[str, typer.Option(help="What to compile for: onnx-cpu, onnx-mobile.")],
    weights: Annotated[
        str | None,
        typer.Option(help="float32, int8, int4, int2, mobile, or a recipe file. Default: the target's, or as stored."),
    ] = None,
    context: Annotated[int | None, typer.Option(help="Tokens the KV state holds. Default: 4,096.")] = None,
    kv: Annotated[str | None, typer.Option(help="How keys and values are kept: float32 or int8.")] = None,
    device: Annotated[str, typer.Option(help="Profile for speeds: server-2-cores, laptop, phone.")] = "server-2-cores",
    measure_device: Annotated[bool, typer.Option("--measure-device", help="Measure this machine instead.")] = False,
    as_json: Json = False,
) -> None:
    """Bytes, KV, operations and the speed they allow, from headers alone."""
    import msgspec

    from g4compile.errors import InputError
    from g4compile.planning.device import DEVICES
    from g4compile.planning.device import measure_device as measure
    from g4compile.planning.plan import plan as make_plan

    if device not in DEVICES:
        raise InputError(f"there is no device {device}", fix=f"devices: {', '.join(DEVICES)}, or --measure-device")
    with status("measure this machine"):
        chosen = measure() if measure_device else DEVICES[device]
    made = make_plan(existing_or_name(source), target, weights, context, kv, chosen)
    rows = {
        "parameters": f"{made.parameters / 1e9:.3f} billion",
        **{name.replace("_", " "): size(count) for name, count in made.bytes_by_part.items() if count},
        "data file": f"{size(made.data_bytes)}, {size(made.mapped_table_bytes)} of it tables read by row",
        f"KV at {made.context:,} tokens": f"{size(made.kv_bytes)}, {made.kv}",
        "memory to compile": f"about {size(made.memory.compile_peak_bytes)}",
        "memory once loaded": f"{size(made.memory.load_bytes)}; with a cache {size(made.memory.cached_load_bytes)}",
        f"after {made.memory.prompt:,} tokens": f"{size(made.memory.steady_bytes)}; with a cache {size(made.memory.cached_steady_bytes)}, {size(made.memory.cached_anonymous_bytes)} of it anonymous",
        "a decoded token": f"reads {size(made.decode_read_bytes)}, {made.decode_operations / 1e9:.2f} G operations",
        "a prefilled token": f"{made.prefill_operations / 1e9:.2f} G operations",
        "device": f"{chosen.name}: {chosen.bandwidth / 1e9:.1f} GB/s, {chosen.operations / 1e9:,.0f} G operations/s",
        "decode, at most": f"{made.decode_tokens_per_second:,.1f} tokens/s",
        "prefill, at most": f"{made.prefill_tokens_per_second:,.1f} tokens/s",
        **({"recipe": ""} if made.recipe else {}),
    }

    def show() -> None:
        table(f"{source} for {made.target}, {made.weights} weights", rows)
        for rule in made.recipe:
            print(f"    {rule}")

    result(as_json, msgspec.to_builtins(made), show)
