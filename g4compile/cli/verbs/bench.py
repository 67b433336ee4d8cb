"""`g4compile bench`: how fast a bundle is on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from g4compile.cli.arguments import bundle_folder
from g4compile.cli.render.progress import progress
from g4compile.cli.render.sizes import device_rows, size
from g4compile.cli.render.tables import table
from g4compile.cli.verb import Answer, Json, verb


@verb
def bench(
    bundle: Annotated[Path, typer.Argument(help="The bundle.")],
    prompt_tokens: Annotated[int, typer.Option(min=1)] = 128,
    new_tokens: Annotated[int, typer.Option(min=1)] = 32,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Default: 2. A bundle for a GPU has no use for it.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, max=10_000, help="Runs after one to warm up; medians are shown.")] = 5,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for rearranged weights; the load that is timed finds it filled.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Of an engine bundle: the folder that holds its weights.")
    ] = None,
    as_json: Json = False,
) -> Answer:
    """Time load, prefill and decode of a random prompt, and the encoders of an ONNX bundle."""
    import msgspec

    from g4compile.runtime.measure import measure

    with progress(f"time {repeats + 1} runs"):
        timings = measure(
            bundle_folder(bundle),
            prompt_tokens=prompt_tokens,
            new_tokens=new_tokens,
            threads=threads,
            repeats=repeats,
            cache=cache,
            checkpoint=checkpoint,
        )
    prefill = f"{timings.prefill_tokens_per_second:,.1f} tokens/s"
    rows = {
        "load": f"{timings.load_s:.2f} s",
        "prefill": f"{prefill} ({timings.prompt_tokens} tokens in {timings.time_to_first_token_s:.3f} s)",
        "decode": f"{timings.decode_tokens_per_second:,.1f} tokens/s",
        **{
            f"{modality} encoder": f"{one.seconds:.3f} s for {one.tokens} tokens"
            for modality, one in timings.encoders.items()
        },
        "memory": f"{size(timings.resident_bytes)} resident, {size(timings.anonymous_bytes)} of it anonymous",
        "KV state": size(timings.kv_bytes),
    }
    if timings.device is not None:
        rows |= device_rows(timings.device)
    on = "on the GPU" if timings.threads is None else f"{timings.threads} threads"
    title = f"{bundle}: medians of {repeats}, {on}"
    return Answer(msgspec.to_builtins(timings), lambda: table(title, rows))
