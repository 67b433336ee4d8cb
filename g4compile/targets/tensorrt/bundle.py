"""Writing an engine bundle: a plan a step, and in the manifest how a runtime feeds it."""

from __future__ import annotations

import onnx_ir as ir

from g4compile import pipeline
from g4compile.bundle.manifest import DECODER, EngineSpec, EngineStep, GraphSpec, HostSpec, KVLayer, KVSpec, WeightSpec
from g4compile.errors import Defect
from g4compile.model.config import TextFacts
from g4compile.targets.base import Emitted, Order, io_specs
from g4compile.targets.phases import frontend
from g4compile.targets.tensorrt.build import build_plan, make_builder
from g4compile.targets.tensorrt.engine import step_network
from g4compile.targets.tensorrt.lowerings import BFLOAT16
from g4compile.targets.tensorrt.memory import activation_bytes
from g4compile.targets.tensorrt.product import Product
from g4compile.targets.tensorrt.steps import Capacities, steps
from g4compile.weights.formats.engine_codes import EngineTensor
from g4compile.weights.references import CheckpointTensor
from g4compile.weights.writer import write_tensors

_BYTES = 2  # of a number in bfloat16


def emit_engines(product: Product, order: Order) -> Emitted:
    """Build the plans of all steps into the order's folder."""
    facts, options = order.facts.text, order.options
    capacities = Capacities(options.context, options.batch, options.chunk)
    ring = capacities.ring(facts)
    trt, plugins = product.load(), product.load_plugins()
    pipeline.run(order.model, frontend(facts, 0, ring=ring), order.observe)
    builder, complaints = make_builder(trt)
    graphs, made, host = {}, [], HostSpec((), 0, ())
    asked: list[dict[str, ir.TensorProtocol]] = [{} for _ in range(options.ranks)]
    for step in steps(capacities, options.weights, product.plugins):
        for rank in range(options.ranks):
            name = step.name if options.ranks == 1 else f"{step.name}.rank{rank}"
            order.progress(f"{name}: emit", 0, 0)
            one = step_network(
                trt, builder, order.model, product.target, facts, step, capacities,
                weights=options.weights, rank=rank, ranks=options.ranks, plugins=plugins, observe=order.observe,
            )  # fmt: skip
            order.progress(f"{name}: build", 0, 0)
            plan = build_plan(
                trt, builder, complaints, one.network, product, step, capacities, options.compute_capabilities
            )
            (order.folder / f"{name}.plan").write_bytes(plan)
            inputs, outputs = io_specs(one.graph.inputs), io_specs(one.graph.outputs)
            graphs[name] = GraphSpec(f"{name}.plan", inputs, outputs, DECODER, step.name, rank)
            asked[rank].update(one.emitter.weights)
            activations = activation_bytes(one.graph, step, capacities)
            host = one.host
            del one, plan  # a network holds memory while it lives
        made.append(EngineStep(step.name, step.tokens, step.keep, activations))
    weights = tuple(spec for rank, names in enumerate(asked) for spec in _weights(names, rank, order))
    kv = _kv(facts, ring, capacities, options.ranks)
    engine = EngineSpec(
        product=product.target,
        version=str(trt.__version__),
        compute_capabilities=options.compute_capabilities,
        batch=options.batch,
        chunk=options.chunk,
        ring=ring,
        steps=tuple(made),
        host=host,
        weights=weights,
        weight_bytes=sum(weight.bytes for weight in weights if weight.rank == 0),
        ranks=options.ranks,
        kv_bytes=capacities.batch * sum(layer.bytes_per_token * (layer.keep or options.context) for layer in kv.layers),
    )
    return Emitted(graphs=graphs, kv=kv, activations=BFLOAT16, engine=engine)


def _kv(facts: TextFacts, ring: int, capacities: Capacities, ranks: int) -> KVSpec:
    """A ring takes back what no later chunk has overwritten: what it holds beyond the window and one token."""
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
    return KVSpec(BFLOAT16, min(ring - window, capacities.chunk), layers)


def _weights(asked: dict[str, ir.TensorProtocol], rank: int, order: Order) -> tuple[WeightSpec, ...]:
    """Where each weight comes from; codes are made here, and written beside the plans."""
    coded = {
        name: ir.Value(name=name, const_value=tensor)
        for name, tensor in asked.items()
        if isinstance(tensor, EngineTensor)
    }
    places = {}
    if coded:
        places = write_tensors(
            coded.values(),
            order.folder,
            lambda done, total, name: order.progress(name, done, total),
            max_memory=order.max_memory,
            journal=order.journal,
        )
    offsets = {str(value.name): offset for value, offset in places.items()}
    return tuple(_weight(name, tensor, offsets.get(name), rank) for name, tensor in asked.items())


def _weight(name: str, tensor: ir.TensorProtocol, offset: int | None, rank: int) -> WeightSpec:
    if not isinstance(tensor, CheckpointTensor | EngineTensor):
        raise Defect(f"the engine asks for {name}, which is no tensor of the checkpoint")
    shape = tuple(int(size) for size in tensor.shape)  # type: ignore[arg-type]  # weights are static
    return WeightSpec(name, tensor.key, str(tensor.dtype).lower(), shape, tensor.steps, offset, rank)
