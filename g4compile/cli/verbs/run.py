"""`g4compile run`: a prompt in, text out as it is made."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from g4compile.cli.console import Json, result, verb


@verb
def run(
    bundle: Annotated[Path, typer.Argument(help="The bundle.")],
    prompt: Annotated[
        str, typer.Option(help="The user's message; the chat template is applied when there is one.")
    ] = "",
    ids: Annotated[str, typer.Option(help="Token ids instead of a prompt: 2,105,107. Prints token ids.")] = "",
    raw: Annotated[bool, typer.Option("--raw", help="Take the prompt as it is, without the chat template.")] = False,
    image: Annotated[Path | None, typer.Option(help="An image, where the bundle takes images.")] = None,
    audio: Annotated[Path | None, typer.Option(help="A sound file, where the bundle takes audio.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 128,
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the likeliest token.")] = 0.0,
    top_k: Annotated[int, typer.Option(min=0, help="0 keeps all.")] = 0,
    top_p: Annotated[float, typer.Option(min=0, max=1)] = 1.0,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    threads: Annotated[int, typer.Option(min=0, help="0 lets ONNX Runtime decide.")] = 0,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Of an engine bundle: the folder that holds its weights.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Generate from a compiled bundle."""
    from g4compile.errors import InputError
    from g4compile.runtime.session import load
    from g4compile.runtime.text import TextCodec

    if bool(prompt) == bool(ids):
        raise InputError(
            "give either --prompt or --ids" if prompt else "the prompt is empty", fix="--prompt TEXT, or --ids 1,2,3"
        )
    session = load(bundle, threads=threads, checkpoint=checkpoint)
    for modality, file in (("image", image), ("audio", audio)):
        if file is not None and modality not in session.bundle.manifest.modalities:
            raise InputError(
                f"this bundle takes no {modality}",
                why=f"it was compiled for {', '.join(session.bundle.manifest.modalities)}",
            )
    codec = None if ids else TextCodec(session.bundle)
    if codec is None:
        tokens = _parse_ids(ids)
    else:
        tokens = (
            codec.encode(prompt)
            if raw or not codec.has_template
            else codec.encode_chat([{"role": "user", "content": prompt}])
        )
    produced: list[int] = []
    start = time.perf_counter()
    first = 0.0

    def stream() -> Iterator[int]:
        nonlocal first
        for token in session.generate(
            tokens, max_new_tokens=max_new_tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed
        ):
            first = first or time.perf_counter() - start
            produced.append(token)
            yield token

    pieces = []
    for piece in codec.stream(stream()) if codec else (str(token) for token in stream()):
        pieces.append(piece)
        if not as_json:
            print(piece, end="" if codec else ",", flush=True)
    if not as_json:
        print()
    seconds = time.perf_counter() - start
    data = {
        "text": "".join(pieces) if codec else None,
        "token_ids": produced,
        "prompt_tokens": len(tokens),
        "time_to_first_token_s": round(first, 4),
        "decode_tokens_per_second": round((len(produced) - 1) / max(seconds - first, 1e-9), 2),
    }
    result(as_json, data, lambda: None)


def _parse_ids(text: str) -> list[int]:
    from g4compile.errors import InputError

    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f"--ids must be integers with commas between them, found {text!r}", fix="--ids 1,2,3"
        ) from None
