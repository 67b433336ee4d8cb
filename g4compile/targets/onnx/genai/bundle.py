"""Writing a package: its graphs, their weights, and what onnxruntime-genai reads beside them."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from g4compile.bundle.manifest import DECODER, GraphSpec, KVLayer, KVSpec
from g4compile.model.config import LayerFacts
from g4compile.targets.base import FLOAT32, Emitted, Order, io_specs
from g4compile.targets.onnx.bundle import activations_of, kv_token_bytes, quantized_specs
from g4compile.targets.onnx.genai.config import CONFIG, SLACK, genai_config
from g4compile.weights.writer import write_graphs


def emit_package(order: Order, legal: Mapping[str, ir.Model]) -> Emitted:
    """Write the graphs ``legal`` of parts, the weights of all and the files of settings into the folder of ``order``."""
    graphs = dict(legal)
    write_graphs(graphs, order.folder, order.written, max_memory=order.max_memory, journal=order.journal)
    (order.folder / CONFIG).write_bytes(genai_config(order))
    return Emitted(
        graphs={
            name: GraphSpec(f"{name}.onnx", io_specs(model.graph.inputs), io_specs(model.graph.outputs), name)
            for name, model in graphs.items()
        },
        kv=KVSpec(FLOAT32, 0, tuple(map(_kv_layer, order.facts.text.kv_layers))),
        activations=activations_of(graphs[DECODER]),
        quantized=quantized_specs(graphs.values()),
    )


def _kv_layer(layer: LayerFacts) -> KVLayer:
    """A sliding layer keeps as many tokens as onnxruntime-genai gives it slots where nothing else is asked for."""
    keep = None if layer.window is None else layer.window + SLACK
    size = kv_token_bytes(layer, FLOAT32)
    return KVLayer(layer.index, layer.kind, layer.kv_heads, layer.head_dim, layer.window, keep, size)
