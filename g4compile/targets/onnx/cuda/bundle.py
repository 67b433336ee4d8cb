"""Writing the graph, the weights and the kernels of a bundle for CUDA, and what its manifest says of them."""

from __future__ import annotations

import onnx_ir as ir

from g4compile.bundle.kv import BFLOAT16, token_bytes
from g4compile.bundle.manifest import DECODER, CudaSpec, GraphSpec, KVLayer, KVSpec, QuantizedSpec
from g4compile.model.config import LayerFacts, ModelFacts
from g4compile.targets.base import REWIND, Emitted, Order, io_specs
from g4compile.targets.kernels.bundled import MANIFEST, write_kernels
from g4compile.targets.onnx.bundle import kept_tokens, quantized_specs
from g4compile.targets.onnx.cuda.lower_to_launches import kernels_of
from g4compile.targets.onnx.cuda.options import COUNTERS, CudaOptions, cuda_options
from g4compile.weights.writer import write_graphs


def emit_cuda(order: Order, decoder: ir.Model) -> Emitted:
    """Write the legal graph ``decoder``, its weights and its kernels, if it has any, into the folder of ``order``."""
    options = cuda_options(order.options)
    write_graphs({DECODER: decoder}, order.folder, order.written, max_memory=order.max_memory, journal=order.journal)
    if not options.stock:
        order.progress("kernels", 0, 0)
        write_kernels(order.folder, kernels_of(list(decoder.graph)), options.compute_capabilities)
    return specs(order.facts, options, decoder, quantized_specs([decoder]))


def specs(facts: ModelFacts, options: CudaOptions, decoder: ir.Model, quantized: dict[str, QuantizedSpec]) -> Emitted:
    """What a manifest says of a bundle with the graph ``decoder``, whose weights are ``quantized``."""
    inputs, outputs = io_specs(decoder.graph.inputs), io_specs(decoder.graph.outputs)
    return Emitted(
        graphs={DECODER: GraphSpec(f"{DECODER}.onnx", inputs, outputs, DECODER)},
        kv=KVSpec(BFLOAT16, REWIND, tuple(_kv_layer(layer, options) for layer in facts.text.kv_layers)),
        activations=BFLOAT16,
        quantized=quantized,
        cuda=_cuda(options, decoder),
    )


def _cuda(options: CudaOptions, decoder: ir.Model) -> CudaSpec:
    if options.stock:
        return CudaSpec(options.chunk, host_sizes=any(node.op_type == "Shape" for node in decoder.graph))
    return CudaSpec(options.chunk, COUNTERS, MANIFEST, options.compute_capabilities)


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
