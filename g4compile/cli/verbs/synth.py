"""`g4compile synth`: a random checkpoint to try everything on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from g4compile.cli.console import Json, existing_or_name, parse_size, result, size, status, table, verb


@verb
def synth(
    config: Annotated[str, typer.Argument(help="A preset (tiny-e2b, e2b, ...), a config.json, or a folder with one.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The new folder to write.")],
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same weights.")] = 0,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    modalities: Annotated[
        str, typer.Option(help="Of text,image,audio: those to keep. Default: all the config has.")
    ] = "",
    weights: Annotated[
        str | None, typer.Option(help="mobile: codes in the layout of Google's mobile checkpoint of this size.")
    ] = None,
    shard_size: Annotated[str, typer.Option(help="Start a new shard past this size, e.g. 2GB.")] = "4GiB",
    as_json: Json = False,
) -> None:
    """Write a random checkpoint in the published layout, with a small working tokenizer."""
    from g4compile.synth.checkpoint import synthesize
    from g4compile.weights.checkpoint import Checkpoint

    kept = tuple(modalities.split(",")) if modalities else None
    with status("synth") as progress:
        facts = synthesize(
            existing_or_name(config),
            output,
            seed=seed,
            dtype=dtype,
            modalities=kept,
            weights=weights,
            shard_bytes=parse_size(shard_size),
            progress=progress,
        )
    tensors = Checkpoint.open(output).tensors
    total = sum(path.stat().st_size for path in output.glob("*.safetensors"))
    data = {
        "checkpoint": str(output),
        "architecture": facts.architecture,
        "modalities": list(facts.modalities),
        "tensors": len(tensors),
        "weight_bytes": total,
        "seed": seed,
        "dtype": dtype,
        "quantization": facts.quantization,
    }
    rows = {
        "architecture": facts.architecture,
        "modalities": ", ".join(facts.modalities),
        "tensors": f"{len(tensors):,}",
        "weights": size(total),
    }
    result(as_json, data, lambda: table(f"wrote {output}", rows))
