"""The embedding of a package that takes images or sounds: what encoders give stands in the place of placeholders.

    input_ids, image_features [n, H] -> [embed] -> inputs_embeds [B, S, H], per_layer_inputs [B, S, L * D]

Between two graphs onnxruntime-genai hands tensors of three axes, so per-layer inputs are flattened here and split again
in the decoder. Rows of features go to the first placeholders in order; placeholders beyond them stay padding, as those
of a prompt without media do. More rows than placeholders are an error of the runtime.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from g4compile.errors import Defect
from g4compile.graph.axes import sizes_of, static_size
from g4compile.graph.build import Builder

_IDS, _EMBEDS, _PER_LAYER = "input_ids", "inputs_embeds", "per_layer_inputs"


def put_features(embed: ir.Model, placeholders: Mapping[str, int]) -> None:
    """Give ``embed`` an input of features for each entry of ``placeholders``: the input's name, and the id of the token
    in whose places its rows stand."""
    graph = embed.graph
    embeds = _named(graph.outputs, _EMBEDS)
    ids = _named(graph.inputs, _IDS)
    last = _renamed(graph, embeds, "Reshape")
    build, width = Builder(last), static_size(embeds, -1)
    rows = build.op("Reshape", embeds, build.constant([-1, width]))
    flat = build.op("Reshape", ids, build.constant([-1]))
    for name, token in placeholders.items():
        features = ir.Value(name=name, shape=ir.Shape([f"{name}_rows", width]), type=embeds.type)
        graph.inputs.append(features)
        places = build.op("NonZero", build.op("Equal", flat, build.constant(token)))
        count = build.op("Shape", features, start=0, end=1)
        taken = build.op("Slice", places, build.constant([0]), count, build.constant([1]))
        rows = build.op("ScatterND", rows, build.op("Transpose", taken, perm=[1, 0]), features)
    last.replace_input_with(0, rows)
    last.replace_input_with(1, build.op("Shape", embeds))


def flatten_per_layer(embed: ir.Model, decoder: ir.Model) -> None:
    """Join the last two axes of `per_layer_inputs` where ``embed`` gives it, and split them where ``decoder`` reads
    it."""
    given, read = _named(embed.graph.outputs, _PER_LAYER), _named(decoder.graph.inputs, _PER_LAYER)
    batch, new, layers, width = sizes_of(read)
    if not isinstance(layers, int) or not isinstance(width, int):
        raise Defect(f"{_PER_LAYER} has no fixed sizes", where=str(read.shape))
    last = _renamed(embed.graph, given, "Reshape")
    last.replace_input_with(1, Builder(last).constant([0, 0, layers * width]))
    last.outputs[0].shape = ir.Shape([batch, new, layers * width])
    readers = list(read.uses())
    build = Builder(decoder.graph[0])
    read.shape = ir.Shape([batch, new, layers * width])
    split = build.op("Reshape", read, build.constant([0, 0, layers, width]))
    split.shape = ir.Shape([batch, new, layers, width])
    for node, index in readers:
        node.replace_input_with(index, split)


def _named(values: Sequence[ir.Value], name: str) -> ir.Value:
    found = next((value for value in values if value.name == name), None)
    if found is None:
        raise Defect(f"the graph has no {name}", where=", ".join(str(value.name) for value in values))
    return found


def _renamed(graph: ir.Graph, output: ir.Value, op: str) -> ir.Node:
    """A node behind all others whose output has the name and the place of ``output``, and which reads that; its second
    operand is still to be given."""
    node = ir.node(op, [output, None])
    made = node.outputs[0]
    made.type, made.shape = output.type, output.shape
    graph.append(node)
    graph.outputs[list(graph.outputs).index(output)] = made
    made.name, output.name = output.name, f"{output.name}.rows"
    return node
