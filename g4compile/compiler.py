"""Checkpoint -> bundle: trace, passes, legalise, write. The one place where the parts meet."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec
import onnx_ir as ir

import g4compile
from g4compile import pipeline
from g4compile.bundle import VERSION, Bundle, GraphSpec, KVLayer, KVSpec, Manifest, TensorSpec
from g4compile.config import LayerFacts, ModelFacts
from g4compile.errors import InputError
from g4compile.targets import TARGETS
from g4compile.targets.base import Target
from g4compile.targets.frontend import frontend
from g4compile.targets.writer import finish, staging
from g4compile.weights.checkpoint import Checkpoint
from g4compile.weights.external import write_graph
from g4compile.weights.lazy import bind

Progress = Callable[[str], None]
REWIND = 16  # tokens that a windowed cache can take back: enough for a drafter's round


def trace(facts: ModelFacts, dtype: str = "float32") -> ir.Model:
    """The decoder of ``facts`` as a [traced] graph, weights unbound. ``dtype`` is that of weights and activations."""
    import torch

    from g4compile.trace.export import export_decoder
    from g4compile.trace.importer import Importer

    return Importer(export_decoder(facts, getattr(torch, dtype)), facts).run()


def lower(
    model: ir.Model,
    facts: ModelFacts,
    target: Target,
    observe: tuple[pipeline.Observer, ...] = (),
    *,
    shared_tail: bool = True,
) -> list[pipeline.Step]:
    """[traced] -> [legal:target], in place."""
    return pipeline.run(model, (*frontend(facts.text, REWIND, shared_tail), *target.backend(facts.text)), observe)


def compile(  # the public name; the builtin is not used here
    checkpoint: str | Path,
    target: str,
    output: str | Path,
    *,
    weights: str = "float32",
    modalities: tuple[str, ...] = ("text",),
    context: int | None = None,
    force: bool = False,
    dump_dir: str | Path | None = None,
    progress: Progress = lambda text: None,
) -> Bundle:
    """Compile ``checkpoint`` (a folder or a Hub id) for ``target`` into the new folder ``output``.

    ``context`` limits how many tokens a session may hold; default: what the model was made for. Raises
    InputError (arguments), CheckpointError, BundleError (output), MachineError (disk, memory).
    """
    chosen = _target(target, weights)
    source = Checkpoint.open(checkpoint)
    _check_modalities(modalities, source.facts)
    limit = _context(context, source.facts)
    observe: list[pipeline.Observer] = [lambda step, model: progress(f"{step.stage}: {step.name}")]
    if dump_dir is not None:
        observe.append(pipeline.dump_to(Path(dump_dir)))
    out = Path(output)
    with staging(out, force) as folder:
        progress("trace")
        model = trace(source.facts)
        bind(model, source)
        lower(model, source.facts, chosen, tuple(observe))
        write_graph(model, folder / "decoder.onnx", lambda name, size: progress(f"weights: {name}"))
        for path in source.side_files:
            shutil.copyfile(path, folder / path.name)
        return finish(folder, out, _manifest(source, chosen, weights, limit, model))


def _target(name: str, weights: str) -> Target:
    if name not in TARGETS:
        raise InputError(f"there is no target {name}", fix=f"targets: {', '.join(TARGETS)}")
    if weights not in TARGETS[name].weights:
        raise InputError(f"target {name} has no {weights} weights", fix=f"it has: {', '.join(TARGETS[name].weights)}")
    return TARGETS[name]


def _check_modalities(modalities: tuple[str, ...], facts: ModelFacts) -> None:
    for modality in modalities:
        if modality not in ("text", "image", "audio"):
            raise InputError(f"there is no modality {modality}", fix="modalities: text, image, audio")
        if modality not in facts.modalities:
            raise InputError(f"this checkpoint has no {modality}", fix=f"it has: {', '.join(facts.modalities)}")
        if modality != "text":
            raise InputError(f"{modality} is not compiled by this version", fix="--modalities text")


def _context(context: int | None, facts: ModelFacts) -> int:
    most = facts.text.max_positions
    if context is None:
        return most
    if not 1 <= context <= most:
        raise InputError(
            f"a context of {context} tokens is not possible: the model has {most:,} positions",
            fix=f"--context between 1 and {most}",
        )
    return context


def _manifest(source: Checkpoint, target: Target, weights: str, context: int, model: ir.Model) -> Manifest:
    text = source.facts.text
    stop = [*text.eos_token_ids, *_generation_stops(source)]
    config = (source.folder / "config.json").read_bytes()
    names = ("onnx", "onnx-ir", "torch", "transformers")
    return Manifest(
        manifest_version=VERSION,
        generator=f"g4compile {g4compile.__version__}",
        model_type=source.facts.model_type,
        architecture=source.facts.architecture,
        target=target.name,
        weights=weights,
        modalities=("text",),
        context=context,
        vocab_size=text.vocab_size,
        bos_token_id=text.bos_token_id,
        pad_token_id=text.pad_token_id,
        stop_token_ids=tuple(dict.fromkeys(stop)),
        graphs={"decoder": GraphSpec("decoder.onnx", _io(model.graph.inputs), _io(model.graph.outputs))},
        kv=KVSpec("float32", REWIND, tuple(_kv_layer(layer) for layer in text.kv_layers)),
        source={"config_sha256": hashlib.sha256(config).hexdigest()},
        versions={name: version(name) for name in names},
        files={},
    )


def _generation_stops(source: Checkpoint) -> list[int]:
    path = source.folder / "generation_config.json"
    if not path.exists():
        return []
    stops = msgspec.json.decode(path.read_bytes()).get("eos_token_id", [])
    return list(stops) if isinstance(stops, list) else [stops]


def _io(values: Sequence[ir.Value]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(
            str(value.name),
            str(value.dtype).lower(),
            tuple(size if isinstance(size, int) else str(size) for size in value.shape or ()),
        )
        for value in values
    )


def _kv_layer(layer: LayerFacts) -> KVLayer:
    keep = None if layer.window is None else layer.window - 1 + REWIND
    return KVLayer(
        layer.index,
        layer.kind,
        layer.kv_heads,
        layer.head_dim,
        layer.window,
        keep,
        2 * layer.kv_heads * layer.head_dim * 4,
    )
