"""Writing the graph and the weights of a bundle for CUDA, and what its manifest says of them."""

from __future__ import annotations

import onnx_ir as ir

from g4compile.bundle.kv import BFLOAT16, token_bytes
from g4compile.bundle.manifest import DECODER, CudaSpec, GraphSpec, KVLayer, KVSpec
from g4compile.model.config import LayerFacts
from g4compile.targets.base import REWIND, Emitted, Order, io_specs
from g4compile.targets.onnx.bundle import kept_tokens, quantized_specs
from g4compile.targets.onnx.cuda.options import COUNTERS, CudaOptions, cuda_options
from g4compile.weights.writer import write_graphs

KERNELS = "kernels.json"  # the list of the kernels, which are files beside it


def emit_cuda(order: Order, decoder: ir.Model) -> Emitted:
    """Write the legal graph ``decoder`` and its weights into the folder of ``order``."""
    options = cuda_options(order.options)
    write_graphs({DECODER: decoder}, order.folder, order.written, max_memory=order.max_memory, journal=order.journal)
    inputs, outputs = io_specs(decoder.graph.inputs), io_specs(decoder.graph.outputs)
    return Emitted(
        graphs={DECODER: GraphSpec(f"{DECODER}.onnx", inputs, outputs, DECODER)},
        kv=KVSpec(BFLOAT16, REWIND, tuple(_kv_layer(layer, options) for layer in order.facts.text.kv_layers)),
        activations=BFLOAT16,
        quantized=quantized_specs([decoder]),
        cuda=CudaSpec(options.chunk, COUNTERS, KERNELS, options.compute_capabilities),
    )


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
