"""Checkpoint -> bundle: trace, lower, write. The one place where the rooms meet."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec.structs import replace

from g4compile import pipeline
from g4compile.bundle.folder import Bundle
from g4compile.errors import CheckpointError, InputError
from g4compile.inputs.system import system_errors
from g4compile.model.contents import DECODER, PARTS
from g4compile.program import Program, bind
from g4compile.targets import target_named
from g4compile.targets.base import Order, Progress
from g4compile.targets.choices import modalities_of, options_for
from g4compile.targets.lower import lower
from g4compile.targets.manifest import identity_of, manifest_of, media_of
from g4compile.targets.staging import finish, staging
from g4compile.text_tables.write import write_text_tables
from g4compile.trace.apart import trace_apart
from g4compile.trace.trace import trace
from g4compile.weights.checkpoint import Checkpoint
from g4compile.weights.fit import check_contents, stored_modalities
from g4compile.weights.identity import check_identity
from g4compile.weights.journal import Journal
from g4compile.weights.side_files import read_side_files
from g4compile.weights.taken_files import take_files
from g4compile.weights.writer import MAX_MEMORY


def compile(  # noqa: PLR0913 - the public name, one parameter per option
    checkpoint: str | Path | Checkpoint,
    target: str,
    output: str | Path,
    *,
    weights: str | None = None,
    kv: str | None = None,
    modalities: tuple[str, ...] | None = None,
    context: int | None = None,
    kernels: str | None = None,
    package: str | None = None,
    batch: int | None = None,
    chunk: int | None = None,
    compute_capabilities: tuple[int, ...] | None = None,
    tensor_parallel: int | None = None,
    attention: str | None = None,
    self_contained: bool = False,
    force: bool = False,
    max_memory: int = MAX_MEMORY,
    dump_dir: str | Path | None = None,
    progress: Progress = lambda text, done, total: None,
) -> Bundle:
    """Compile ``checkpoint`` (a folder, a Hub id, or one that is open) for ``target`` into the new folder ``output``.

    ``weights``: float32, a built-in recipe (int8, int4, int4-channel, int2, mobile) or a recipe file; of a checkpoint
    that holds codes, stored. The default is the target's, or stored. ``kv``: keys and values in float32, int8 with a
    scale per token and head, or bfloat16, which the kernels g4ops alone can read; the default is the target's.
    ``modalities``: text, and image and audio where the target takes them; the default is all that the checkpoint has,
    and text alone for engines.
    ``context`` limits how many tokens a session may hold; default: the target's, or what the model was made for.
    ``kernels`` of ONNX bundles multiply with codes: `g4ops`, those of the library libg4ops, which every machine that
    runs the bundle then needs, or `onnxruntime`; the default is g4ops where the library is installed. Of onnx-cuda they
    are `g4cuda`, which Triton compiles, or `onnxruntime`; the default is g4cuda where Triton is installed, and else a
    warning says so.
    ``package`` of onnx-cpu: `genai` for a folder that onnxruntime-genai runs as it is, and no session of ours.
    Of engines and onnx-cuda: ``chunk`` tokens per prefill step, or of a run at most, and the ``compute_capabilities``
    (89 for 8.9) of the GPUs they are for. Of engines alone: ``batch`` sequences at most, ``tensor_parallel`` ranks
    that share a model out, and the form of ``attention`` (fused, select or folded; the default is the first that
    TensorRT builds, and a warning says so where it refused one before); with ``self_contained`` the checkpoint's files
    that they read are in the bundle too, which then needs no checkpoint: as hard links, or as copies where there can be
    none. Another target refuses them.
    ``max_memory``: bytes for weights in flight. A compile that was killed is
    taken up where it stopped.

    Raises InputError (arguments, config), CheckpointError (tensors that do not fit the config or hold a NaN, files that
    cannot be loaded, or that change meanwhile), BundleError (output), MachineError (disk, memory, no library), Defect
    (stored codes came out changed: no bundle is left).
    """
    chosen = target_named(target)
    source = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint.open(checkpoint)
    modalities = modalities_of(chosen, stored_modalities(source), modalities)
    options = options_for(
        chosen,
        source.facts,
        weights=weights,
        kv=kv,
        context=context,
        modalities=modalities,
        kernels=kernels,
        package=package,
        batch=batch,
        chunk=chunk,
        compute_capabilities=compute_capabilities,
        tensor_parallel=tensor_parallel,
        attention=attention,
        self_contained=self_contained or None,
    )
    chosen.check(source.facts, options)
    check_contents(source, (DECODER, *(part for kind, part in PARTS.items() if kind in modalities)))
    media = media_of(source, options)  # refused now, and not when all is written
    side = chosen.files(read_side_files(source), options, media)

    def lowering(text: str, done: int, total: int) -> None:
        progress(f"step 2 of 2: {text}", done, total)

    observe: list[pipeline.Observer] = [lambda run, model: lowering(f"{run.stage}: {run.name}", 0, 0)]
    out = Path(output)
    if dump_dir is not None:
        observe.append(_dump(Path(dump_dir), out))
    with system_errors("reading the checkpoint", None, CheckpointError):
        identity = identity_of(source, chosen, options)
    with staging(out, force, identity, source.folder) as folder:
        progress("step 1 of 2: trace", 0, 0)
        parts = (DECODER, *(part for kind, part in PARTS.items() if kind in modalities))
        graphs = {
            part: trace_apart(source, part) if chosen.traces_apart else trace(source.facts, part=part) for part in parts
        }
        program = Program.of(graphs, source.facts)
        bind(program, source)
        order = Order(source.facts, options, folder, Journal(folder, identity), max_memory, lowering, media, side)
        emitted = chosen.emit(order, lower(program, chosen, options, observe))
        side.write(folder)
        if self_contained and emitted.engine is not None:
            lowering("the checkpoint's files", 0, 0)
            take_files(source, emitted.engine.keys, folder)
        manifest = manifest_of(source, chosen, options, emitted, side.stop_token_ids)
        if emitted.engine is None and emitted.cuda is None and package is None:  # libg4rt runs it
            manifest = replace(manifest, text_tables=write_text_tables(folder))
        source.check_unchanged()  # all is read: the comparison below is of the same files
        check_identity(Bundle(folder, manifest), source)
        return finish(folder, out, manifest, force)


def _dump(folder: Path, output: Path) -> pipeline.Observer:
    if Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(output)):
        raise InputError(
            f"the folder for graphs {folder} lies in the output, which must be a bundle alone",
            fix="give --dump-dir a folder elsewhere",
        )
    return pipeline.dump_to(folder)
