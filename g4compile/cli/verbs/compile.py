"""`g4compile compile`: checkpoint in, bundle out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from g4compile.cli.arguments import parse_capabilities, parse_modalities, parse_size
from g4compile.cli.render.bundles import compiled_rows
from g4compile.cli.render.progress import progress
from g4compile.cli.render.tables import table
from g4compile.cli.verb import Answer, Json, verb


@verb
def compile(  # noqa: PLR0913 - a verb has one parameter per option
    checkpoint: Annotated[str, typer.Argument(help="A checkpoint folder, or a Hub id.")],
    target: Annotated[
        str, typer.Option(help="What to compile for: onnx-cpu, onnx-mobile, onnx-cuda, tensorrt-rtx, tensorrt.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The new bundle folder.")],
    weights: Annotated[
        str | None,
        typer.Option(
            help="float32, int8, int4, int4-channel, int2, mobile, or a recipe file; stored keeps a checkpoint's own "
            "codes. "
            "Engines: bfloat16, int4, fp8."
        ),
    ] = None,
    kv: Annotated[
        str | None,
        typer.Option(help="How keys and values are kept: float32, int8, or bfloat16 with g4ops; in engines bfloat16."),
    ] = None,
    modalities: Annotated[
        str | None,
        typer.Option(
            help="What the bundle can take in, as text,image. Default: all that checkpoint and target have. "
            "Engines: text; the others where asked."
        ),
    ] = None,
    context: Annotated[
        int | None, typer.Option(help="Most tokens a session may hold. Default: what the model was made for.")
    ] = None,
    kernels: Annotated[
        str | None,
        typer.Option(
            help="ONNX bundles of codes: products, experts, caches and attention by g4ops (the library libg4ops) or "
            "onnxruntime. Default: g4ops where the library is installed. onnx-cuda: g4cuda (kernels that Triton "
            "compiles), or onnxruntime. Default: g4cuda where Triton is installed."
        ),
    ] = None,
    package: Annotated[
        str | None,
        typer.Option(
            help="onnx-cpu: genai, for a folder that onnxruntime-genai runs as it is, and no session of ours."
        ),
    ] = None,
    sm: Annotated[
        str, typer.Option(help="tensorrt-rtx, onnx-cuda: compute capabilities of the GPUs to build for, as 80,89,120.")
    ] = "",
    batch: Annotated[int | None, typer.Option(help="Engines: most sequences at once. Default: 1.")] = None,
    chunk: Annotated[
        int | None, typer.Option(help="Most new tokens of a step, or run. Default: 128 of engines, 2048 of onnx-cuda.")
    ] = None,
    tensor_parallel: Annotated[
        int | None, typer.Option(help="Engines: ranks that share the model out, a GPU each. Default: 1.")
    ] = None,
    attention: Annotated[
        str | None,
        typer.Option(
            help="Engines: fused (a layer of TensorRT's), select or folded (products). Default: the first of them that "
            "TensorRT builds."
        ),
    ] = None,
    self_contained: Annotated[
        bool,
        typer.Option("--self-contained", help="Engines: put the checkpoint's files into the bundle, as hard links."),
    ] = False,
    max_memory: Annotated[str, typer.Option(help="Bound on memory for weights in flight.")] = "2GiB",
    dump_dir: Annotated[Path | None, typer.Option(help="Write the graph after every pass into this folder.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the bundle at the output.")] = False,
    as_json: Json = False,
) -> Answer:
    """Compile a checkpoint for a target. The output appears whole or not at all."""
    import g4compile
    from g4compile.requirements import COMPILE, require

    require(COMPILE, "compile")
    from g4compile.planning.describe import describe_compiled
    from g4compile.weights.checkpoint import Checkpoint
    from g4compile.weights.stored import STORED

    start = time.perf_counter()
    memory = parse_size(max_memory)
    capabilities = parse_capabilities(sm)
    source = Checkpoint.open(checkpoint)
    with progress("compile", counts_bytes=True) as report:
        bundle = g4compile.compile(
            source,
            target,
            output,
            weights=weights,
            kv=kv,
            modalities=None if modalities is None else parse_modalities(modalities),
            context=context,
            kernels=kernels,
            package=package,
            batch=batch,
            chunk=chunk,
            compute_capabilities=capabilities or None,
            tensor_parallel=tensor_parallel,
            attention=attention,
            self_contained=self_contained,
            dump_dir=dump_dir,
            force=force,
            max_memory=memory,
            progress=report,
        )
    data = {**describe_compiled(bundle, source.facts), "compile_s": round(time.perf_counter() - start, 3)}
    if bundle.manifest.weights == STORED:  # `compile` has compared every code, and raises when one differs
        data |= dict.fromkeys(("identical_tensors", "quantized_tensors"), len(bundle.manifest.quantized))
    return Answer(data, lambda: table(f"wrote {output}", compiled_rows(bundle, data)))
