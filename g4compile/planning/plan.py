"""`plan`: bytes by part, KV at a context, traffic and operations per token, and the speed a device allows.

Sizes are exact: they follow the rules by which `weights/writer.py` lays a data file out, and a test compares them
with compiled bundles. Speeds count reads and products alone (`speeds.py`).
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from g4compile.errors import InputError
from g4compile.model.config import TextFacts, load_config, model_facts
from g4compile.model.contents import DECODER, PARTS, part_of_module
from g4compile.model.inventory import LOOKUP, SMALL, Weight, inventory
from g4compile.model.keys import checkpoint_key
from g4compile.planning.caches import caches, gpu_caches, kv_read
from g4compile.planning.device import Device
from g4compile.planning.encoders import EncoderPlan, encoder_weights, plan_encoder
from g4compile.planning.engines import TENSORRT, EngineStorage, engine_caches, engine_storage, host_table_bytes
from g4compile.planning.gpu import GpuMemory, gpu_memory, gpu_of, gpu_speeds, gpu_storage, numbers_bytes
from g4compile.planning.memory import Memory, memory
from g4compile.planning.speeds import operations, read_bytes, speeds
from g4compile.planning.storage import FLOAT, Storage, paged
from g4compile.runtime.session import CHUNK
from g4compile.targets import target_named
from g4compile.targets.base import FLOAT32, Target
from g4compile.targets.choices import kv_of, modalities_of, recipe_of
from g4compile.targets.onnx.cuda.options import G4CUDA, CudaOptions, cuda_options
from g4compile.targets.onnx.kernels import kernels_for
from g4compile.targets.onnx.lower_quantized_weights import G4OPS
from g4compile.targets.tensorrt.options import EngineOptions
from g4compile.targets.tensorrt.target import EngineTarget, engine_options
from g4compile.weights.checkpoint import Checkpoint
from g4compile.weights.recipe import Recipe
from g4compile.weights.stored import STORED, stored_rule
from g4compile.weights.writer import INLINE


class Plan(msgspec.Struct, frozen=True):
    """Bytes are of files and memory, not of parameters. ``prefill_*`` are of one token among many: products on all
    positions. Behind the last layer that writes KV one position is computed: ``decode_operations`` less
    ``prefill_operations``, once a prompt. ``parameters`` and figures of tokens are the decoder's; ``encoders`` has what
    each modality beside text costs, whose bytes ``data_bytes`` counts.

    Of engines ``data_bytes`` are on the device, and ``mapped_table_bytes`` those of tables that the host reads by row
    in the checkpoint's files; ``kernels`` is `tensorrt`.

    ``kv_bytes``: of one sequence at ``context`` tokens. ``kv_bytes_per_token``: what full layers add for every token.
    ``kv_window_bytes``: what the full caches of sliding layers hold in all. Both as in `bundle/kv.py`.
    ``decode_kv_bytes``: what of ``decode_read_bytes`` attention reads. ``kernels``: whose products read codes; on a
    GPU, whose compute all.
    ``speeds_from``: `device`: what reads at the bandwidth, and products at the operations of ``device`` would give;
    `products`: an estimate, at the rates that the products of libg4ops reached on it. ``memory`` is of a process, and
    None where the bundle runs on a GPU, whose memory ``gpu`` says.
    """

    model_type: str
    target: str
    weights: str
    context: int
    kv: str
    parameters: int
    bytes_by_part: dict[str, int]
    data_bytes: int
    mapped_table_bytes: int
    kv_bytes: int
    kv_bytes_per_token: int
    kv_window_bytes: int
    memory: Memory | None
    decode_read_bytes: int
    decode_kv_bytes: int
    decode_operations: int
    prefill_operations: int
    device: Device
    decode_tokens_per_second: float
    prefill_tokens_per_second: float
    speeds_from: str
    recipe: tuple[str, ...] = ()
    kernels: str = ""
    encoders: dict[str, EncoderPlan] = {}
    gpu: GpuMemory | None = None


def plan(
    source: str | Path,
    target: str = "onnx-cpu",
    weights: str | None = None,
    context: int | None = None,
    kv: str | None = None,
    device: Device | None = None,
    kernels: str | None = None,
    modalities: tuple[str, ...] | None = None,
) -> Plan:
    """Plan a compile of ``source`` (preset, config or checkpoint folder); no weight is read.

    ``context``: tokens the KV state holds; default 4,096 or what the model allows. ``kernels``: as a compile takes
    them, but those that are asked for need not be here. ``modalities``: default all that the model and the target have.
    Raises InputError.
    """
    chosen = target_named(target)
    facts = model_facts(load_config(source), where=str(source))
    text = facts.text
    tokens = min(context or chosen.context or 4096, text.max_positions)
    if context is not None and not 1 <= context <= text.max_positions:
        raise InputError(f"a context of {context} is not possible", fix=f"between 1 and {text.max_positions}")
    kv = kv_of(chosen, kv)
    taken = recipe_of(facts, chosen, weights)
    weights, found = taken.name if isinstance(taken, Recipe) else taken, inventory(text)
    takes = modalities_of(chosen, facts.modalities, modalities)
    beside = {modality: encoder_weights(facts, part) for modality, part in PARTS.items() if modality in takes}
    cuda, engine = _for_gpu(chosen, weights, tokens, kernels), _for_engines(chosen, weights, tokens, kernels, takes)
    everything = [*found, *(weight for weights in beside.values() for weight in weights)]
    recipe = cuda.recipe if cuda else None if engine else _recipe(taken, source, everything)
    for of_part in (found, *beside.values()):
        if recipe is not None:
            recipe.check(weight.module for weight in of_part if weight.use != SMALL)
    taken_kernels = cuda.kernels if cuda else kernels_for(weights, kernels, kv)
    rings = taken_kernels == G4OPS
    storage = gpu_storage(cuda) if cuda else Storage(recipe, panels=rings)
    kept = gpu_caches(text, cuda) if cuda else caches(text, tokens, kv, rings)
    if isinstance(chosen, EngineTarget) and engine is not None:
        storage, kept = engine_storage(chosen, engine), engine_caches(text, engine)
    parts: dict[str, int] = {}
    for weight in found:
        parts[weight.group] = parts.get(weight.group, 0) + storage.stored_bytes(weight)
    parts["constants"] = 0 if engine is not None else _constant_bytes(text, cuda)
    encoders = {modality: plan_encoder(facts, PARTS[modality], storage) for modality in beside}
    if engine is not None:  # encoders stay in bfloat16, and have no constants on the device
        plain = EngineStorage(None)
        sizes = {modality: sum(map(plain.stored_bytes, beside[modality])) for modality in beside}
        encoders = {one: msgspec.structs.replace(made, bytes=sizes[one]) for one, made in encoders.items()}
    parts |= {PARTS[modality]: encoder.bytes for modality, encoder in encoders.items()}
    on_gpu = cuda or engine
    read, profile = kv_read(text, tokens, kv), gpu_of(device, wanted=on_gpu is not None)
    chunk = min(on_gpu.chunk if on_gpu else CHUNK, tokens)
    speed = gpu_speeds(found, storage, read, profile, chunk) if on_gpu else speeds(found, storage, read, profile)
    scratch = numbers_bytes(found, storage) if cuda else 0  # kernels in engines make numbers of codes in every tile
    tables = sum(storage.stored_bytes(weight) for weight in found if weight.use == LOOKUP)
    return Plan(
        model_type=facts.model_type,
        target=chosen.name,
        weights=weights,
        context=tokens,
        parameters=sum(weight.elements for weight in found),
        bytes_by_part=parts,
        data_bytes=sum(parts.values()),
        mapped_table_bytes=tables if engine is None else host_table_bytes(text, found),
        kv=kv,
        kv_bytes=kept.held,
        kv_bytes_per_token=kept.token,
        kv_window_bytes=kept.windows,
        memory=None if on_gpu else memory(text, found, storage, kept.held, chunk),
        decode_read_bytes=sum(read_bytes(weight, storage) for weight in found) + read,
        decode_kv_bytes=read,
        decode_operations=sum(map(operations, found)),
        prefill_operations=sum(operations(weight) for weight in found if not weight.tail),
        device=profile,
        decode_tokens_per_second=round(speed.decode, 2),
        prefill_tokens_per_second=round(speed.prefill, 2),
        speeds_from=speed.source,
        recipe=() if recipe is None or weights == STORED else recipe.listed((DECODER, *(PARTS[one] for one in beside))),
        kernels=taken_kernels if engine is None else TENSORRT,
        encoders=encoders,
        gpu=gpu_memory(text, chunk, sum(parts.values()), kept.held, scratch) if on_gpu else None,
    )


def _recipe(weights: Recipe | str, source: str | Path, found: list[Weight]) -> Recipe | None:
    if weights == FLOAT32:
        return None
    if isinstance(weights, Recipe):
        return weights
    checkpoint = Checkpoint.open(source)
    rules = []
    for weight in (weight for weight in found if len(weight.shape) == 2):
        decoder = part_of_module(weight.module) == DECODER
        key = checkpoint_key(weight.parameter, checkpoint.facts) if decoder else weight.parameter
        rules.append(stored_rule(checkpoint, key, weight.shape))
    return Recipe(STORED, tuple(rules))


def _for_gpu(target: Target, weights: str, tokens: int, kernels: str | None) -> CudaOptions | None:
    """The options of a compile for a GPU; None where ``target`` runs on processors."""
    if not issubclass(target.options_class, CudaOptions):
        return None
    return cuda_options(target.options(weights=weights, context=tokens, kernels=kernels or G4CUDA))


def _for_engines(
    target: Target, weights: str, tokens: int, kernels: str | None, modalities: tuple[str, ...]
) -> EngineOptions | None:
    """The options of a compile of engines, for one sequence; None for another target."""
    if not isinstance(target, EngineTarget):
        return None
    given = {} if kernels is None else {"kernels": kernels}  # which it refuses
    return engine_options(target.options(weights=weights, context=tokens, modalities=modalities, **given))


def _constant_bytes(text: TextFacts, cuda: CudaOptions | None) -> int:
    """Scales of ones for scale-free norms, one a width, and the frequencies of each kind of layer. Kernels of libg4cuda
    have no ones; ONNX Runtime's own on CUDA have the places of caches too, and the order of experts."""
    halves = [FLOAT * layer.head_dim // 2 for layer in {layer.kind: layer for layer in text.layers}.values()]
    ones = [] if cuda and not cuda.stock else [FLOAT * size for size in {layer.head_dim for layer in text.kv_layers}]
    others = []
    if cuda and cuda.stock:
        others = [8 * slots for slots in {cuda.slots(layer) for layer in text.kv_layers}]
        others += [FLOAT * text.moe.experts**2] if text.moe else []
    return sum(paged(size) for size in (*halves, *ones, *others) if size > INLINE)
