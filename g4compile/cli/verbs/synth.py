"""`g4compile synth`: a random checkpoint to try everything on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from g4compile.cli.arguments import existing_or_name, parse_modalities, parse_size
from g4compile.cli.render.progress import progress
from g4compile.cli.render.sizes import size
from g4compile.cli.render.tables import table
from g4compile.cli.verb import Answer, Json, verb


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
) -> Answer:
    """Write a random checkpoint in the published layout, with a small working tokenizer."""
    from g4compile.requirements import COMPILE, require

    require(COMPILE, "synth")
    from g4compile.planning.describe import describe_config
    from g4compile.synth.checkpoint import synthesize

    with progress("trace the shapes") as report:
        facts = synthesize(
            existing_or_name(config),
            output,
            seed=seed,
            dtype=dtype,
            modalities=parse_modalities(modalities) if modalities else None,
            weights=weights,
            shard_bytes=parse_size(shard_size),
            progress=report,
        )
    found = describe_config(output)
    data = {
        "checkpoint": str(output),
        "architecture": facts.architecture,
        "modalities": list(facts.modalities),
        "tensors": found.tensors,
        "weight_bytes": found.weight_bytes,
        "seed": seed,
        "dtype": dtype,
        "quantization": facts.quantization,
    }
    rows = {
        "architecture": facts.architecture,
        "modalities": ", ".join(facts.modalities),
        "tensors": f"{found.tensors:,}",
        "weights": size(found.weight_bytes or 0),
    }
    return Answer(data, lambda: table(f"wrote {output}", rows))
