"""From a graph at [quantized] to the networks of all steps, and what the host does for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from g4compile import pipeline
from g4compile.bundle.manifest import HostSpec, TableSpec
from g4compile.errors import SpecError
from g4compile.graph.edit import constant_array
from g4compile.model.config import TextFacts
from g4compile.targets.lowering.split import split_embedding
from g4compile.targets.tensorrt.engine_phase import engine_phase
from g4compile.targets.tensorrt.lowerings import BFLOAT16, FUSED_HEAD
from g4compile.targets.tensorrt.network.emitter import Emitter
from g4compile.targets.tensorrt.network.layers import LAYERS
from g4compile.targets.tensorrt.network.plugin_layers import PLUGIN_LAYERS
from g4compile.targets.tensorrt.steps import Capacities, Step
from g4compile.weights.references import CheckpointTensor


@dataclass(frozen=True)
class StepNetwork:
    """A step's legal ``graph`` and the network emitted from it; ``emitter`` holds constants and the weights it asks for."""

    step: Step
    graph: ir.Graph
    network: Any
    emitter: Emitter
    host: HostSpec


def step_network(
    trt: Any,
    builder: Any,
    quantized: ir.Model,
    target: str,
    facts: TextFacts,
    step: Step,
    capacities: Capacities,
    *,
    fused_head: int = FUSED_HEAD,
    weights: str = BFLOAT16,
    rank: int = 0,
    ranks: int = 1,
    plugins: Any = None,
    observe: Sequence[pipeline.Observer] = (),
) -> StepNetwork:
    """The network of ``step``, of one ``rank`` of ``ranks``. ``quantized`` is left as it is; ``builder`` must outlive the network.
    ``plugins``: `tensorrt.plugin` with our kernels registered, of a product that has it."""
    model = quantized.clone()
    phase = engine_phase(target, facts, step, capacities, fused_head, weights, rank, ranks, plugins=plugins is not None)
    pipeline.run(model, (phase,), observe)
    parts = split_embedding(model)
    # The flag is the default in releases that have dropped weak typing, and the only form that is emitted.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    emitter = Emitter(trt, network, plugins)
    emitter.emit(parts["decoder"].graph, LAYERS if plugins is None else {**LAYERS, **PLUGIN_LAYERS})
    return StepNetwork(step, parts["decoder"].graph, network, emitter, host_lookups(parts["embed"].graph))


def host_lookups(embed: ir.Graph) -> HostSpec:
    """The lookups of the `embed` graph as data: placeholders to padding, a row of each table, times a scale."""
    placeholders: list[int] = []
    pad = 0
    for node in embed:
        if node.op_type == "Equal":
            placeholders.append(_scalar(node.inputs[1]))
        elif node.op_type == "Where":
            pad = _scalar(node.inputs[1])
    return HostSpec(tuple(placeholders), pad, tuple(_table(value) for value in embed.outputs))


def _table(output: ir.Value) -> TableSpec:
    scale, value = 1.0, output
    while (node := value.producer()) is not None and node.op_type != "Gather":
        if node.op_type == "Mul":
            array = constant_array(node.inputs[1])
            if array is None:
                raise SpecError("a table is scaled by what is no constant", where=str(node.name))
            scale *= float(array)
        first = node.inputs[0]
        assert first is not None
        value = first
    table = node.inputs[0].const_value if node is not None and node.inputs[0] is not None else None
    if not isinstance(table, CheckpointTensor) or output.shape is None:
        raise SpecError(f"{output.name} is not looked up in a table of the checkpoint", where=str(output.name))
    row = tuple(int(size) for size in list(output.shape)[2:])  # type: ignore[arg-type]  # rows are static
    return TableSpec(str(output.name), table.key, scale * table.scale, row)


def _scalar(value: ir.Value | None) -> int:
    array = constant_array(value)
    if array is None:
        raise SpecError("the placeholders of other modalities are not constants")
    return int(array)
