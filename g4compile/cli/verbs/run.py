"""`g4compile run`: a prompt in, text out as it is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from g4compile.cli.arguments import bundle_folder, parse_ids
from g4compile.cli.render.messages import note
from g4compile.cli.render.progress import progress
from g4compile.cli.verb import Answer, Json, verb

if TYPE_CHECKING:
    from g4compile.runtime.media.records import AudioInputs, ImageInputs, VideoInputs
    from g4compile.runtime.prompt import Prompt


@verb
def run(  # noqa: PLR0913 - a verb has one parameter per option
    bundle: Annotated[Path, typer.Argument(help="The bundle.")],
    prompt: Annotated[
        str, typer.Option(help="The user's message; the chat template is applied when there is one.")
    ] = "",
    ids: Annotated[str, typer.Option(help="Token ids instead of a prompt: 2,105,107. Prints token ids.")] = "",
    raw: Annotated[bool, typer.Option("--raw", help="Take the prompt as it is, without the chat template.")] = False,
    image: Annotated[
        list[Path] | None,
        typer.Option(help="An image; once for each. They stand in front of the prompt, or where it has <|image|>."),
    ] = None,
    video: Annotated[
        list[Path] | None, typer.Option(help="A video; once for each. Behind the images, or where it has <|video|>.")
    ] = None,
    audio: Annotated[
        list[Path] | None, typer.Option(help="A sound; once for each. Behind the videos, or where it has <|audio|>.")
    ] = None,
    image_tokens: Annotated[
        int | None, typer.Option(help="Most tokens of an image: 70, 140, 280, 560, 1120. Default: the checkpoint's.")
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 128,
    temperature: Annotated[float, typer.Option(min=0, help="0 takes the likeliest token.")] = 0.0,
    top_k: Annotated[int, typer.Option(min=0, help="0 keeps all.")] = 0,
    top_p: Annotated[float, typer.Option(min=0, max=1)] = 1.0,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    threads: Annotated[int, typer.Option(min=0, help="0 lets ONNX Runtime decide. Of CPUs.")] = 0,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Of an engine bundle: the folder that holds its weights.")
    ] = None,
    as_json: Json = False,
) -> Answer:
    """Generate from a compiled bundle."""
    import msgspec

    from g4compile.errors import InputError
    from g4compile.runtime.generation import Timed, check_takes
    from g4compile.runtime.prompt import Prompt, ask
    from g4compile.runtime.session import load
    from g4compile.runtime.text import TextCodec

    given = {"image": image or [], "video": video or [], "audio": audio or []}
    kinds = [kind for kind, files in given.items() if files]
    if bool(prompt or kinds) == bool(ids) and not (kinds and ids):
        raise InputError(
            "give either --prompt or --ids" if prompt else "the prompt is empty", fix="--prompt TEXT, or --ids 1,2,3"
        )
    with progress("load the bundle"):
        session = load(bundle_folder(bundle), threads=threads, checkpoint=checkpoint)
    check_takes(session.bundle, *kinds)
    if kinds and ids:
        raise InputError(f"--{kinds[0]} goes with --prompt", fix="give --prompt TEXT in the place of --ids")
    codec = None if ids else TextCodec(session.bundle)
    if codec is None:
        asked = Prompt(parse_ids(ids))
    else:
        with progress(f"read {' and '.join(kinds)}" if kinds else "read the prompt"):
            asked = ask(session.bundle, codec, prompt, given, chat=not raw and codec.has_template, budget=image_tokens)
    notes = _notes(asked, given)
    for text in notes:
        note(text)
    made = Timed(
        session.generate(
            asked, max_new_tokens=max_new_tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed
        )
    )
    pieces = []
    for piece in codec.stream(made) if codec else map(str, made):
        pieces.append(piece)
        if not as_json:
            print(piece, end="" if codec else ",", flush=True)
    memory = session.device_memory
    session.close()
    data = {
        "text": "".join(pieces) if codec else None,
        "token_ids": made.token_ids,
        "prompt_tokens": len(asked.input_ids),
        "notes": notes,
        "time_to_first_token_s": round(made.first_s, 4),
        "decode_tokens_per_second": round(made.decode_tokens_per_second, 2),
        "device_memory": None if memory is None else msgspec.to_builtins(memory),
    }
    return Answer(data, print)


def _notes(asked: Prompt, given: Mapping[str, Sequence[Path]]) -> list[str]:
    """What was done to files that their owners may not expect: of an animation the first image is taken."""
    items: dict[str, Sequence[ImageInputs | VideoInputs | AudioInputs]] = {
        "image": asked.images,
        "video": asked.videos,
        "audio": asked.audios,
    }
    return [
        f"{file}: {text}"
        for kind, read in items.items()
        for file, item in zip(given[kind], read, strict=True)
        for text in item.notes
    ]
