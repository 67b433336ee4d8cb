"""`g4compile compile`: checkpoint in, bundle out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from g4compile.cli.console import Json, bar, parse_size, result, size, table, verb


@verb
def compile(
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint folder, or a Hub id.")],
    target: Annotated[str, typer.Option(help="What to compile for: onnx-cpu, onnx-mobile.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The new bundle folder.")],
    weights: Annotated[
        str | None,
        typer.Option(help="float32, int8, int4, int2, mobile, a recipe file; stored keeps a checkpoint's own codes."),
    ] = None,
    kv: Annotated[str, typer.Option(help="How keys and values are kept: float32 or int8.")] = "float32",
    modalities: Annotated[str, typer.Option(help="What the bundle can take in: text.")] = "text",
    context: Annotated[
        int | None, typer.Option(help="Most tokens a session may hold. Default: what the model was made for.")
    ] = None,
    max_memory: Annotated[str, typer.Option(help="Bound on memory for weights in flight.")] = "2GiB",
    dump_dir: Annotated[Path | None, typer.Option(help="Write the graph after every pass into this folder.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the bundle at the output.")] = False,
    as_json: Json = False,
) -> None:
    """Compile a checkpoint for a target. The output appears whole or not at all."""
    from g4compile.compare.codes import compare_codes
    from g4compile.compiler import compile as compile_checkpoint
    from g4compile.errors import Defect

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
            dump_dir=dump_dir,
            force=force,
            max_memory=parse_size(max_memory),
            progress=progress,
        )
        codes = compare_codes(bundle, checkpoint)
    if codes is not None and codes.different:
        raise Defect(f"the bundle's codes are not the checkpoint's: {codes}", where=str(output))
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
    if codes is not None:
        data["identical_tensors"], data["quantized_tensors"] = codes.identical, codes.tensors
        rows["weights"] = str(codes)
    result(as_json, data, lambda: table(f"wrote {output}", rows))
