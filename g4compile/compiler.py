"""Checkpoint -> bundle: trace, passes, legalise, write. The one place where the parts meet."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec
import onnx_ir as ir

import g4compile
from g4compile import pipeline
from g4compile.bundle import VERSION, Bundle, GraphSpec, KVLayer, KVSpec, Manifest, QuantizedSpec, TensorSpec
from g4compile.config import LayerFacts, ModelFacts
from g4compile.errors import Defect, InputError
from g4compile.targets import TARGETS
from g4compile.targets.base import Target
from g4compile.targets.frontend import frontend
from g4compile.targets.split import split_embedding
from g4compile.targets.writer import finish, staging
from g4compile.weights.checkpoint import Checkpoint
from g4compile.weights.external import MAX_MEMORY, write_graphs
from g4compile.weights.journal import Journal
from g4compile.weights.lazy import bind
from g4compile.weights.quantized import QuantizedTensor
from g4compile.weights.recipe import load_recipe, recipe_name
from g4compile.weights.stored import STORED

FLOAT32 = "float32"
KV_DTYPES = (FLOAT32, "int8")
# Called with what is done now, and the bytes of weights written so far and in all (0 before they are known).
Progress = Callable[[str, int, int], None]
REWIND = 16  # tokens that a windowed cache can take back: enough for a drafter's round


def trace(facts: ModelFacts, dtype: str = "float32") -> ir.Model:
    """The decoder of ``facts`` as a [traced] graph, weights unbound. ``dtype`` is that of weights and activations."""
    import torch

    from g4compile.trace.export import export_decoder
    from g4compile.trace.importer import Importer

    weights = getattr(torch, dtype)
    try:
        return Importer(export_decoder(facts, weights), facts).run()
    except Defect:  # once more, so that the message names the line of model code
        return Importer(export_decoder(facts, weights, source_lines=True), facts).run()


def lower(
    model: ir.Model,
    facts: ModelFacts,
    target: Target,
    observe: tuple[pipeline.Observer, ...] = (),
    *,
    shared_tail: bool = True,
    weights: str = FLOAT32,
    kv: str = FLOAT32,
) -> list[pipeline.Step]:
    """[traced] -> [legal:target], in place. ``weights``: float32, stored, or a recipe's name or file.

    ``kv``: how keys and values are kept, float32 or int8.
    """
    phases = (*frontend(facts.text, REWIND, shared_tail, weights, kv), *target.backend(facts.text))
    return pipeline.run(model, phases, observe)


def compile(  # the public name; the builtin is not used here
    checkpoint: str | Path | Checkpoint,
    target: str,
    output: str | Path,
    *,
    weights: str | None = None,
    kv: str = FLOAT32,
    modalities: tuple[str, ...] = ("text",),
    context: int | None = None,
    force: bool = False,
    max_memory: int = MAX_MEMORY,
    dump_dir: str | Path | None = None,
    progress: Progress = lambda text, done, total: None,
) -> Bundle:
    """Compile ``checkpoint`` (a folder, a Hub id, or one that is open) for ``target`` into the new folder ``output``.

    ``weights``: float32, a built-in recipe (int8, int4, int2, mobile) or a recipe file; of a checkpoint that holds
    codes, stored. The default is the target's, or stored. ``kv``: keys and values in float32, or int8 with
    a scale a token and head. ``context`` limits how many
    tokens a session may hold; default: the target's, or what the model was made for. ``max_memory``: bytes for weights in flight.
    A compile that was killed is taken up where it stopped. Raises InputError (arguments), CheckpointError,
    BundleError (output), MachineError (disk, memory).
    """
    chosen = target_named(target)
    source = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint.open(checkpoint)
    weights = weights_of(source.facts, chosen, weights)
    recipe = None if weights in (FLOAT32, STORED) else load_recipe(weights)
    rules = () if recipe is None else tuple(str(rule) for rule in recipe.rules)
    named = weights if recipe is None else recipe.name
    _check_modalities(modalities, source.facts)
    if kv not in KV_DTYPES:
        raise InputError(f"there is no KV cache of {kv}", fix=f"--kv {', '.join(KV_DTYPES)}")
    limit = _context(context, chosen, source.facts)
    observe: list[pipeline.Observer] = [lambda step, model: progress(f"{step.stage}: {step.name}", 0, 0)]
    if dump_dir is not None:
        observe.append(pipeline.dump_to(Path(dump_dir)))
    out = Path(output)
    identity = _identity(source, chosen, (named, kv, *rules), limit)
    with staging(out, force, identity) as folder:
        journal = Journal(folder, identity)
        progress("trace", 0, 0)
        model = trace(source.facts)
        bind(model, source)
        lower(model, source.facts, chosen, tuple(observe), weights=weights, kv=kv)
        graphs = split_embedding(model)
        write_graphs(
            graphs,
            folder,
            lambda done, total, name: progress(name, done, total),
            max_memory=max_memory,
            journal=journal,
        )
        for path in source.side_files:
            shutil.copyfile(path, folder / path.name)
        return finish(folder, out, _manifest(source, chosen, named, rules, kv, limit, graphs))


def weights_of(facts: ModelFacts, target: Target, weights: str | None) -> str:
    """The weights to compile with, checked: codes are kept as they are. Raises InputError."""
    if weights is not None and weights in target.refuses:
        raise InputError(
            f"{target.name} takes no {weights} weights", why=target.refuses[weights], fix=f"--weights {target.weights}"
        )
    if facts.quantization is None:
        if weights == STORED:
            raise InputError("the checkpoint holds no codes to keep: its weights are in float", fix="--weights int4")
        return recipe_name(weights or target.weights, facts.text)
    if weights not in (None, STORED):
        raise InputError(
            f"the checkpoint's weights are codes already, so they cannot be made {weights}",
            fix="--weights stored keeps every code, or give the float checkpoint",
        )
    return STORED


def target_named(name: str) -> Target:
    """The target called ``name``. Raises InputError."""
    if name not in TARGETS:
        raise InputError(f"there is no target {name}", fix=f"targets: {', '.join(TARGETS)}")
    return TARGETS[name]


def _identity(source: Checkpoint, target: Target, rules: tuple[str, ...], context: int) -> str:
    """What decides every byte of the bundle: work under another identity is not taken up."""
    files = sorted({tensor.file for tensor in source.tensors.values()})
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    config = (source.folder / "config.json").read_text(encoding="utf-8")
    parts = (
        g4compile.__version__,
        str(source.folder.resolve()),
        config,
        stats,
        target.name,
        rules,
        context,
        _versions(),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("onnx", "onnx-ir", "torch", "transformers")}


def _check_modalities(modalities: tuple[str, ...], facts: ModelFacts) -> None:
    for modality in modalities:
        if modality not in ("text", "image", "audio"):
            raise InputError(f"there is no modality {modality}", fix="modalities: text, image, audio")
        if modality not in facts.modalities:
            raise InputError(f"this checkpoint has no {modality}", fix=f"it has: {', '.join(facts.modalities)}")
        if modality != "text":
            raise InputError(f"{modality} is not compiled by this version", fix="--modalities text")


def _context(context: int | None, target: Target, facts: ModelFacts) -> int:
    most = facts.text.max_positions
    if context is None:
        return min(target.context or most, most)
    if not 1 <= context <= most:
        raise InputError(
            f"a context of {context} tokens is not possible: the model has {most:,} positions",
            fix=f"--context between 1 and {most}",
        )
    return context


def _manifest(
    source: Checkpoint,
    target: Target,
    weights: str,
    rules: tuple[str, ...],
    kv: str,
    context: int,
    graphs: Mapping[str, ir.Model],
) -> Manifest:
    text = source.facts.text
    stop = [*text.eos_token_ids, *_generation_stops(source)]
    config = (source.folder / "config.json").read_bytes()
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
        graphs={
            name: GraphSpec(f"{name}.onnx", _io(model.graph.inputs), _io(model.graph.outputs))
            for name, model in graphs.items()
        },
        kv=KVSpec(kv, REWIND, tuple(_kv_layer(layer, kv) for layer in text.kv_layers)),
        source={"config_sha256": hashlib.sha256(config).hexdigest()},
        versions=_versions(),
        recipe=rules,
        activations=_activations(graphs["decoder"]),
        quantized=_quantized(graphs.values()),
        files={},
    )


def _quantized(models: Iterable[ir.Model]) -> dict[str, QuantizedSpec]:
    """By key of the float weight: what its codes in the bundle stand for."""
    found = {}
    for value in (value for model in models for value in model.graph.initializers.values()):
        tensor = value.const_value
        if isinstance(tensor, QuantizedTensor) and tensor.part == "scales":
            matrix = tensor.matrix
            shape, form = (*matrix.leading, matrix.columns), matrix.form
            found[tensor.key] = QuantizedSpec(shape, form.bits, form.block, form.symmetric, matrix.weight.scale)
    return found


def _activations(model: ir.Model) -> str:
    products = [node for node in model.graph.all_nodes() if node.op_type == "MatMulNBits"]
    return "int8" if any(node.attributes["accuracy_level"].as_int() for node in products) else "float32"


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


def _kv_layer(layer: LayerFacts, kv: str) -> KVLayer:
    keep = None if layer.window is None else layer.window - 1 + REWIND
    return KVLayer(
        layer.index,
        layer.kind,
        layer.kv_heads,
        layer.head_dim,
        layer.window,
        keep,
        kv_token_bytes(layer, kv),
    )


def kv_token_bytes(layer: LayerFacts, kv: str) -> int:
    """Bytes of one token's key and value in ``layer``: numbers, or codes and the scale of each head."""
    return 2 * layer.kv_heads * (layer.head_dim * 4 if kv == FLOAT32 else layer.head_dim + 4)
