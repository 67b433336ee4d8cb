"""Checkpoint -> bundle: trace, passes, legalise, write. The one place where the parts meet."""

from __future__ import annotations

import hashlib
import shutil
from importlib.metadata import version
from pathlib import Path

import msgspec
import onnx_ir as ir

import g4compile
from g4compile import pipeline
from g4compile.bundle.manifest import VERSION, Bundle, Manifest
from g4compile.errors import InputError
from g4compile.model.config import ModelFacts
from g4compile.targets import TARGETS
from g4compile.targets.base import FLOAT32, Emitted, Options, Order, Progress, Target
from g4compile.targets.staging import finish, staging
from g4compile.trace.apart import trace_apart
from g4compile.weights.checkpoint import Checkpoint
from g4compile.weights.journal import Journal
from g4compile.weights.recipe import load_recipe, recipe_name
from g4compile.weights.references import bind
from g4compile.weights.stored import STORED
from g4compile.weights.writer import MAX_MEMORY


def lower(
    model: ir.Model,
    facts: ModelFacts,
    target: Target,
    observe: tuple[pipeline.Observer, ...] = (),
    options: Options | None = None,
) -> list[pipeline.Step]:
    """[traced] -> [legal:target], in place."""
    return pipeline.run(model, target.pipeline(facts.text, options or Options()), observe)


def compile(  # the public name; the builtin is not used here
    checkpoint: str | Path | Checkpoint,
    target: str,
    output: str | Path,
    *,
    weights: str | None = None,
    kv: str | None = None,
    modalities: tuple[str, ...] = ("text",),
    context: int | None = None,
    batch: int = 1,
    chunk: int = 128,
    compute_capabilities: tuple[int, ...] = (),
    tensor_parallel: int = 1,
    force: bool = False,
    max_memory: int = MAX_MEMORY,
    dump_dir: str | Path | None = None,
    progress: Progress = lambda text, done, total: None,
) -> Bundle:
    """Compile ``checkpoint`` (a folder, a Hub id, or one that is open) for ``target`` into the new folder ``output``.

    ``weights``: float32, a built-in recipe (int8, int4, int2, mobile) or a recipe file; of a checkpoint that holds
    codes, stored. The default is the target's, or stored. ``kv``: keys and values in float32, or int8 with a scale a token and
    head; the default is the target's. ``context`` limits how many tokens a session may hold; default: the target's, or what
    the model was made for. Of engines alone: ``batch`` sequences at most, ``chunk`` tokens a prefill step, and the
    ``compute_capabilities`` (89 for 8.9) of the GPUs they are for; ``tensor_parallel`` ranks that share a model out.
    ``max_memory``: bytes for weights in flight. A compile that was killed is taken up where it stopped. Raises InputError (arguments), CheckpointError,
    BundleError (output), MachineError (disk, memory).
    """
    chosen = target_named(target)
    source = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint.open(checkpoint)
    weights = weights_of(source.facts, chosen, weights)
    recipe = None if weights in (FLOAT32, STORED, *(chosen.accepts or ())) else load_recipe(weights)
    rules = () if recipe is None else tuple(str(rule) for rule in recipe.rules)
    named = weights if recipe is None else recipe.name
    _check_modalities(modalities, source.facts)
    options = Options(
        weights,
        kv_of(chosen, kv),
        _context(context, chosen, source.facts),
        batch,
        chunk,
        compute_capabilities,
        tensor_parallel,
    )
    chosen.check(source.facts, options)
    observe: list[pipeline.Observer] = [lambda step, model: progress(f"{step.stage}: {step.name}", 0, 0)]
    if dump_dir is not None:
        observe.append(pipeline.dump_to(Path(dump_dir)))
    out = Path(output)
    identity = _identity(source, chosen, (named, *rules), options)
    with staging(out, force, identity, source.folder) as folder:
        journal = Journal(folder, identity)
        progress("trace", 0, 0)
        model = trace_apart(source) if chosen.traces_apart else _trace(source.facts)
        bind(model, source)
        order = Order(model, source.facts, options, folder, journal, max_memory, tuple(observe), progress)
        emitted = chosen.emit(order)
        for path in source.side_files:
            shutil.copyfile(path, folder / path.name)
        return finish(folder, out, _manifest(source, chosen, named, rules, options, emitted))


def _trace(facts: ModelFacts) -> ir.Model:
    from g4compile.trace.trace import trace  # it loads torch, which a trace apart does not want here

    return trace(facts)


def kv_of(target: Target, kv: str | None) -> str:
    """How keys and values are kept, checked. Raises InputError."""
    if kv is not None and kv not in target.kv:
        raise InputError(f"{target.name} has no KV cache of {kv}", fix=f"--kv {', '.join(target.kv)}")
    return kv or target.kv[0]


def weights_of(facts: ModelFacts, target: Target, weights: str | None) -> str:
    """The weights to compile with, checked: codes are kept as they are. Raises InputError."""
    if weights is not None and weights in target.refuses:
        raise InputError(
            f"{target.name} takes no {weights} weights", why=target.refuses[weights], fix=f"--weights {target.weights}"
        )
    if target.accepts is not None and (facts.quantization is not None or weights not in (None, *target.accepts)):
        given = "a checkpoint of codes" if facts.quantization is not None else f"{weights} weights"
        raise InputError(f"{target.name} takes no {given}", fix=f"--weights {', '.join(target.accepts)}")
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


def _identity(source: Checkpoint, target: Target, rules: tuple[str, ...], options: Options) -> str:
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
        options,
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
    source: Checkpoint, target: Target, weights: str, rules: tuple[str, ...], options: Options, emitted: Emitted
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
        context=options.context,
        vocab_size=text.vocab_size,
        bos_token_id=text.bos_token_id,
        pad_token_id=text.pad_token_id,
        stop_token_ids=tuple(dict.fromkeys(stop)),
        graphs=emitted.graphs,
        kv=emitted.kv,
        source={"config_sha256": hashlib.sha256(config).hexdigest()},
        versions=_versions(),
        recipe=rules,
        activations=emitted.activations,
        quantized=emitted.quantized,
        files={},
        engine=emitted.engine,
    )


def _generation_stops(source: Checkpoint) -> list[int]:
    path = source.folder / "generation_config.json"
    if not path.exists():
        return []
    stops = msgspec.json.decode(path.read_bytes()).get("eos_token_id", [])
    return list(stops) if isinstance(stops, list) else [stops]
