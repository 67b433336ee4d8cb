"""Writing the graphs and weights of an ONNX bundle, and what its manifest says of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnx_ir as ir

from g4compile.bundle.kv import token_bytes
from g4compile.bundle.manifest import DECODER, GraphSpec, KVLayer, KVSpec, QuantizedSpec
from g4compile.graph.stage import op_name
from g4compile.model.config import LayerFacts
from g4compile.runtime.session import CHUNK
from g4compile.targets.base import FLOAT32, REWIND, Emitted, Order, io_specs
from g4compile.targets.lowering.split import split_embedding
from g4compile.targets.onnx.lower_quantized_weights import rounds_activations
from g4compile.weights.quantized import QuantizedTensor
from g4compile.weights.writer import write_graphs


def emit_bundle(order: Order, legal: Mapping[str, ir.Model]) -> Emitted:
    """Write the graphs ``legal`` of parts, of which the decoder's is cut in two, and the weights of all into the
    folder of ``order``."""
    beside = {part: model for part, model in legal.items() if part != DECODER}
    graphs = {**split_embedding(legal[DECODER]), **beside}
    write_graphs(graphs, order.folder, order.written, max_memory=order.max_memory, journal=order.journal)
    kv, rings = order.options.kv, any(op_name(node) == "g4.CacheWrite" for node in graphs["decoder"].graph)
    return Emitted(
        graphs={
            name: GraphSpec(f"{name}.onnx", io_specs(model.graph.inputs), io_specs(model.graph.outputs), name)
            for name, model in graphs.items()
        },
        kv=KVSpec(kv, REWIND, tuple(_kv_layer(layer, kv, rings) for layer in order.facts.text.kv_layers)),
        activations=activations_of(graphs["decoder"]),
        quantized=quantized_specs(graphs.values()),
    )


def kv_token_bytes(layer: LayerFacts, kv: str) -> int:
    """Bytes of one token's key and value in ``layer``: numbers, or codes and the scale of each head."""
    return token_bytes(kv, layer.kv_heads, layer.head_dim)


def kept_tokens(layer: LayerFacts) -> int | None:
    """Tokens that a sliding layer keeps; None for a full one."""
    return None if layer.window is None else layer.window - 1 + REWIND


def ring_slots(layer: LayerFacts) -> int | None:
    """Slots of a sliding layer that is written in place: what it keeps, and the new tokens of a call."""
    keep = kept_tokens(layer)
    return None if keep is None else keep + CHUNK


def _kv_layer(layer: LayerFacts, kv: str, rings: bool) -> KVLayer:
    return KVLayer(
        layer.index,
        layer.kind,
        layer.kv_heads,
        layer.head_dim,
        layer.window,
        kept_tokens(layer),
        kv_token_bytes(layer, kv),
        ring_slots(layer) if rings else None,
    )


def quantized_specs(models: Iterable[ir.Model]) -> dict[str, QuantizedSpec]:
    """By key of the float weight: what its codes in the bundle stand for."""
    found = {}
    for value in (value for model in models for value in model.graph.initializers.values()):
        tensor = value.const_value
        if isinstance(tensor, QuantizedTensor) and tensor.part == "scales":
            matrix = tensor.matrix
            shape, format = (*matrix.leading, matrix.columns), matrix.format
            found[tensor.key] = QuantizedSpec(
                shape, format.bits, format.block, format.symmetric, matrix.weight.scale, matrix.layout
            )
    return found


def activations_of(model: ir.Model) -> str:
    return "int8" if any(rounds_activations(node) for node in model.graph.all_nodes()) else FLOAT32
