"""`g4compile compile`: checkpoint in, bundle out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from g4compile.cli.console import Json, bar, parse_capabilities, parse_size, result, size, table, verb


@verb
def compile(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint folder, or a Hub id.")],
    target: Annotated[str, typer.Option(help="What to compile for: onnx-cpu, onnx-mobile, tensorrt-rtx, tensorrt.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The new bundle folder.")],
    weights: Annotated[
        str | None,
        typer.Option(
            help="float32, int8, int4, int2, mobile, a recipe file; stored keeps a checkpoint's own codes. Engines: bfloat16, int4, fp8."
        ),
    ] = None,
    kv: Annotated[
        str | None, typer.Option(help="How keys and values are kept: float32 or int8; in engines bfloat16.")
    ] = None,
    modalities: Annotated[str, typer.Option(help="What the bundle can take in: text.")] = "text",
    context: Annotated[
        int | None, typer.Option(help="Most tokens a session may hold. Default: what the model was made for.")
    ] = None,
    sm: Annotated[
        str, typer.Option(help="tensorrt-rtx: compute capabilities of the GPUs to build for, as 80,89,120.")
    ] = "",
    batch: Annotated[int, typer.Option(help="Engines: most sequences at once.")] = 1,
    chunk: Annotated[int, typer.Option(help="Engines: tokens of a prefill step.")] = 128,
    tensor_parallel: Annotated[int, typer.Option(help="Engines: ranks that share the model out, a GPU each.")] = 1,
    max_memory: Annotated[str, typer.Option(help="Bound on memory for weights in flight.")] = "2GiB",
    dump_dir: Annotated[Path | None, typer.Option(help="Write the graph after every pass into this folder.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the bundle at the output.")] = False,
    as_json: Json = False,
) -> None:
    """Compile a checkpoint for a target. The output appears whole or not at all."""
    import msgspec

    from g4compile.compiler import compile as compile_checkpoint
    from g4compile.weights.stored import STORED

    start = time.perf_counter()
    with bar("compile") as progress:
        bundle = compile_checkpoint(
            checkpoint,
            target,
            output,
            weights=weights,
            kv=kv,
            modalities=tuple(modalities.split(",")),
            context=context,
            batch=batch,
            chunk=chunk,
            compute_capabilities=parse_capabilities(sm),
            tensor_parallel=tensor_parallel,
            dump_dir=dump_dir,
            force=force,
            max_memory=parse_size(max_memory),
            progress=progress,
        )
    seconds = time.perf_counter() - start
    manifest = bundle.manifest
    data = {
        "bundle": str(output),
        "target": manifest.target,
        "weights": manifest.weights,
        "kv": manifest.kv.dtype,
        "modalities": list(manifest.modalities),
        "context": manifest.context,
        "bundle_bytes": bundle.size,
        "compile_s": round(seconds, 3),
    }
    rows = {
        "model": manifest.architecture,
        "target": f"{manifest.target}, {manifest.weights} weights, {', '.join(manifest.modalities)}",
        "KV": f"{manifest.kv.dtype}, {sum(layer.bytes_per_token for layer in manifest.kv.layers):,} bytes a token",
        "context": f"{manifest.context:,} tokens",
        "size": size(bundle.size),
        "time": f"{seconds:.1f} s",
    }
    if manifest.engine is not None:
        engine = manifest.engine
        capabilities = ", ".join(f"sm{capability}" for capability in engine.compute_capabilities)
        rows["engine"] = f"{engine.product} {engine.version} for {capabilities or 'the GPU here'}, never run here"
        rows["steps"] = ", ".join(f"{step.name} ({step.counts})" for step in engine.steps)
        if engine.ranks > 1:
            rows["ranks"] = f"{engine.ranks}, each with plans, weights and KV of its own; bytes below are of one"
        activations = max(step.activation_bytes for step in engine.steps)
        rows["on the device"] = (
            f"weights {size(engine.weight_bytes)}, KV {size(engine.kv_bytes)}, activations about {size(activations)}"
        )
        data["engine"] = msgspec.to_builtins(msgspec.structs.replace(engine, weights=()))  # the manifest lists them
    if manifest.weights == STORED:  # `compile` has compared every code, and raises when one differs
        data["identical_tensors"] = data["quantized_tensors"] = count = len(manifest.quantized)
        rows["weights"] = f"{count} of {count} tensors code-identical"
    result(as_json, data, lambda: table(f"wrote {output}", rows))
