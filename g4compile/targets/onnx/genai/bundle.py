"""Writing a package: its graphs, their weights, and what onnxruntime-genai reads beside them."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from g4compile.bundle.genai_consistency import AUDIO_FEATURES, CONFIG, IMAGE_FEATURES
from g4compile.bundle.manifest import AUDIO, DECODER, EMBED, GraphSpec, KVLayer, KVSpec
from g4compile.bundle.media import MediaSpec
from g4compile.graph.edit import name_uniquely
from g4compile.model.config import LayerFacts
from g4compile.targets.base import FLOAT32, Emitted, Order, io_specs
from g4compile.targets.lowering.split import split_embedding
from g4compile.targets.onnx.bundle import activations_of, kv_token_bytes, quantized_specs
from g4compile.targets.onnx.genai.config import genai_config, slots
from g4compile.targets.onnx.genai.embedding import flatten_per_layer, put_features
from g4compile.targets.onnx.genai.insert_image_runs import TOKEN_IDS
from g4compile.weights.writer import write_graphs


def emit_package(order: Order, legal: Mapping[str, ir.Model]) -> Emitted:
    """Write the graphs ``legal`` of parts, the weights of all and `genai_config.json` into the folder of ``order``."""
    graphs = dict(legal) if order.media is None else _with_media(order, order.media, legal)
    config = genai_config(order, graphs)
    write_graphs(graphs, order.folder, order.written, max_memory=order.max_memory, journal=order.journal)
    (order.folder / CONFIG).write_bytes(config)
    return Emitted(
        graphs={
            name: GraphSpec(f"{name}.onnx", io_specs(model.graph.inputs), io_specs(model.graph.outputs), name)
            for name, model in graphs.items()
        },
        kv=KVSpec(FLOAT32, 0, tuple(_kv_layer(layer, order) for layer in order.facts.text.kv_layers)),
        activations=activations_of(graphs[DECODER]),
        quantized=quantized_specs(graphs.values()),
    )


def _with_media(order: Order, media: MediaSpec, legal: Mapping[str, ir.Model]) -> dict[str, ir.Model]:
    """The graphs of a package that takes more than text: token ids are looked up in a graph of their own."""
    beside = {part: model for part, model in legal.items() if part != DECODER}
    graphs = {**split_embedding(legal[DECODER]), **beside}
    placeholders = {IMAGE_FEATURES: media.tokens.image.id}
    if AUDIO in graphs:
        placeholders[AUDIO_FEATURES] = media.tokens.audio.id
    put_features(graphs[EMBED], placeholders)
    for value in graphs[DECODER].graph.inputs:
        if value.name == TOKEN_IDS:  # the runtime knows one name for ids in both graphs
            value.name = "input_ids"
    if order.facts.text.ple_dim:
        flatten_per_layer(graphs[EMBED], graphs[DECODER])
    for part in (EMBED, DECODER):
        name_uniquely(graphs[part])
    return graphs


def _kv_layer(layer: LayerFacts, order: Order) -> KVLayer:
    """A sliding layer keeps as many tokens as it has slots where nobody asks for others."""
    keep = None if layer.window is None else slots(layer.window, order)
    size = kv_token_bytes(layer, FLOAT32)
    return KVLayer(layer.index, layer.kind, layer.kv_heads, layer.head_dim, layer.window, keep, size)
