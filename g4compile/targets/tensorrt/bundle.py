"""Writing an engine bundle: a plan per step, and in the manifest how a runtime feeds it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import onnx_ir as ir

from g4compile.bundle.manifest import (
    DECODER,
    EngineEncoder,
    EngineSpec,
    EngineStep,
    GraphSpec,
    HostSpec,
    KVLayer,
    KVSpec,
    WeightSpec,
)
from g4compile.errors import Defect, MachineError
from g4compile.graph.references import static_shape
from g4compile.model.config import TextFacts
from g4compile.targets.base import Emitted, Lowered, Order, io_specs
from g4compile.targets.tensorrt.build import EngineBuilder
from g4compile.targets.tensorrt.build_step import StepBuilder
from g4compile.targets.tensorrt.edition import Edition
from g4compile.targets.tensorrt.encoders import inner_sizes, profiles_of
from g4compile.targets.tensorrt.memory import activation_bytes
from g4compile.targets.tensorrt.options import BFLOAT16, EngineOptions
from g4compile.targets.tensorrt.steps import Step
from g4compile.weights.coded import CodedTensor
from g4compile.weights.engine_tensors import EngineTensor
from g4compile.weights.quantized import QuantizedTensor
from g4compile.weights.references import CheckpointTensor
from g4compile.weights.writer import write_tensors

_BYTES = 2  # of a number in bfloat16


def emit_engines(
    edition: Edition, order: Order, options: EngineOptions, kinds: Sequence[Step], lowered: Iterable[Lowered]
) -> Emitted:
    """Build the plans of ``lowered``, a graph of each step and rank, into the order's folder."""
    facts, ranks = order.facts.text, options.tensor_parallel
    builder = EngineBuilder(edition, plugins=edition.load_plugins())
    step_builder = StepBuilder(builder, options, lambda text: order.progress(text, 0, 0))
    by_name = {step.name: step for step in kinds}
    graphs, host = {}, HostSpec((), 0, ())
    steps: dict[str, EngineStep] = {}
    encoders: list[EngineEncoder] = []
    asked: list[dict[str, ir.TensorProtocol]] = [{} for _ in range(ranks)]
    for one in lowered:
        if one.variant.part != DECODER:
            graphs[one.variant.part], encoder, weights_of = _encoder(builder, order, options, one)
            encoders.append(encoder)
            asked[0].update(weights_of)
            continue
        step, rank = by_name[one.variant.name], one.variant.rank
        name = step.name if ranks == 1 else f"{step.name}.rank{rank}"
        sizes = step.sizes(options.batch)
        built = step_builder.build(one, name, sizes)
        (order.folder / f"{name}.plan").write_bytes(built.plan)
        specs = io_specs(built.graph.inputs), io_specs(built.graph.outputs)
        graphs[name] = GraphSpec(f"{name}.plan", *specs, DECODER, step.name, rank)
        asked[rank].update(built.weights)
        host = built.host
        most, refused = activation_bytes(built.graph, sizes), dict(built.refused)
        of_rank = EngineStep(step.name, step.tokens, step.keep, most, built.attention, refused)
        if steps.setdefault(step.name, of_rank).attention != of_rank.attention:
            raise MachineError(
                f"{edition.name} builds the {step.name} network of rank {rank} in another form than that of rank 0",
                why="ranks run in step, so they must compute alike",
                fix=f"--attention {of_rank.attention}",
            )
    weights = tuple(spec for rank, names in enumerate(asked) for spec in _weights(names, rank, order))
    ring = options.capacities.ring(facts)
    kv = _kv(facts, ring, ranks)
    engine = EngineSpec(
        product=edition.target,
        version=str(builder.trt.__version__),
        compute_capabilities=options.compute_capabilities,
        batch=options.batch,
        chunk=options.chunk,
        ring=ring,
        steps=tuple(steps[step.name] for step in kinds),
        host=host,
        weights=weights,
        weight_bytes=sum(weight.bytes for weight in weights if weight.rank == 0),
        ranks=ranks,
        encoders=tuple(encoders),
        kv_bytes=options.batch * sum(layer.bytes_per_token * (layer.keep or options.context) for layer in kv.layers),
    )
    return Emitted(graphs=graphs, kv=kv, activations=BFLOAT16, engine=engine)


def _encoder(
    builder: EngineBuilder, order: Order, options: EngineOptions, lowered: Lowered
) -> tuple[GraphSpec, EngineEncoder, Mapping[str, ir.TensorProtocol]]:
    """Build the plan of a part beside the decoder; what the manifest says of it, and the weights that it asks for."""
    part = lowered.variant.part
    order.progress(f"{part}: emit", 0, 0)
    emitted, profiles = builder.network(lowered.model.graph), profiles_of(order.facts, part, order.media)
    order.progress(f"{part}: build", 0, 0)
    plan = builder.plan(emitted, part, profiles, options.compute_capabilities)
    (order.folder / f"{part}.plan").write_bytes(plan)
    graph = emitted.graph
    spec = GraphSpec(f"{part}.plan", io_specs(graph.inputs), io_specs(graph.outputs), part)
    most = activation_bytes(graph, {**profiles[-1], **inner_sizes(order.facts, part, profiles[-1])})
    return spec, EngineEncoder(part, tuple(map(dict, profiles)), most), emitted.weights


def _kv(facts: TextFacts, ring: int, ranks: int) -> KVSpec:
    """A ring takes back what no later chunk has overwritten: what it holds beyond those that a token sees."""
    window = max((layer.window for layer in facts.layers if layer.window), default=1)
    layers = tuple(
        KVLayer(
            layer.index,
            layer.kind,
            layer.kv_heads // min(layer.kv_heads, ranks),
            layer.head_dim,
            layer.window,
            None if layer.window is None else ring,
            2 * (layer.kv_heads // min(layer.kv_heads, ranks)) * layer.head_dim * _BYTES,
        )
        for layer in facts.kv_layers
    )
    return KVSpec(BFLOAT16, ring - window + 1, layers)


def _weights(asked: dict[str, ir.TensorProtocol], rank: int, order: Order) -> tuple[WeightSpec, ...]:
    """Where each weight comes from; codes are made here, and written beside the plans."""
    coded = {
        name: ir.Value(name=name, const_value=tensor)
        for name, tensor in asked.items()
        if isinstance(tensor, CodedTensor)
    }
    places = {}
    if coded:
        places = write_tensors(
            coded.values(), order.folder, order.written, max_memory=order.max_memory, journal=order.journal
        )
    offsets = {str(value.name): offset for value, offset in places.items()}
    return tuple(_weight(name, tensor, offsets.get(name), rank) for name, tensor in asked.items())


def _weight(name: str, tensor: ir.TensorProtocol, offset: int | None, rank: int) -> WeightSpec:
    if not isinstance(tensor, CheckpointTensor | EngineTensor | QuantizedTensor):
        raise Defect(f"the engine asks for {name}, which is no tensor of the checkpoint")
    words = tuple(map(str, tensor.words))
    return WeightSpec(name, tensor.key, str(tensor.dtype).lower(), static_shape(tensor), words, offset, rank)
