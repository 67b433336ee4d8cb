"""Writing the graph, the weights and the kernels of a bundle for CUDA, and what its manifest says of them."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from g4compile.bundle.kv import BFLOAT16, token_bytes
from g4compile.bundle.manifest import CHOICE, DECODER, CudaSpec, GraphSpec, KVLayer, KVSpec, QuantizedSpec
from g4compile.model.config import LayerFacts, ModelFacts
from g4compile.targets.base import REWIND, Emitted, Order, io_specs
from g4compile.targets.kernels.bundled import MANIFEST, write_kernels
from g4compile.targets.onnx.bundle import kept_tokens, quantized_specs
from g4compile.targets.onnx.cuda.choice import choice_graph
from g4compile.targets.onnx.cuda.lower_to_launches import kernels_of
from g4compile.targets.onnx.cuda.options import CudaOptions, cuda_options
from g4compile.weights.writer import write_graphs


def emit_cuda(order: Order, decoder: ir.Model) -> Emitted:
    """Write the legal graph ``decoder``, its weights and its kernels, if it has any, into the folder of ``order``."""
    options = cuda_options(order.options)
    models = {DECODER: decoder}
    if not options.stock:
        models[CHOICE] = choice_graph(decoder)
    write_graphs(models, order.folder, order.written, max_memory=order.max_memory, journal=order.journal)
    if not options.stock:
        order.progress("kernels", 0, 0)
        nodes = [node for model in models.values() for node in model.graph]
        write_kernels(order.folder, kernels_of(nodes), options.compute_capabilities)
    return specs(order.facts, options, models, quantized_specs([decoder]))


def specs(
    facts: ModelFacts, options: CudaOptions, models: Mapping[str, ir.Model], quantized: dict[str, QuantizedSpec]
) -> Emitted:
    """What a manifest says of a bundle with the graphs ``models`` by part, whose weights are ``quantized``."""
    graphs = {
        part: GraphSpec(f"{part}.onnx", io_specs(model.graph.inputs), io_specs(model.graph.outputs), part)
        for part, model in models.items()
    }
    return Emitted(
        graphs=graphs,
        kv=KVSpec(BFLOAT16, REWIND, tuple(_kv_layer(layer, options) for layer in facts.text.kv_layers)),
        activations=BFLOAT16,
        quantized=quantized,
        cuda=_cuda(options, models[DECODER]),
    )


def _cuda(options: CudaOptions, decoder: ir.Model) -> CudaSpec:
    if options.stock:
        return CudaSpec(options.chunk, host_sizes=any(node.op_type == "Shape" for node in decoder.graph))
    return CudaSpec(options.chunk, MANIFEST, options.compute_capabilities)


def _kv_layer(layer: LayerFacts, options: CudaOptions) -> KVLayer:
    return KVLayer(
        layer.index,
        layer.kind,
        layer.kv_heads,
        layer.head_dim,
        layer.window,
        kept_tokens(layer),
        token_bytes(BFLOAT16, layer.kv_heads, layer.head_dim),
        None if layer.window is None else options.slots(layer),
    )
