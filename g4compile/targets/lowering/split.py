"""One legal graph -> two: `embed` looks rows up in tables, `decoder` computes.

    input_ids -> [embed] -> inputs_embeds [B, S, H], per_layer_inputs [B, S, L, D] -> [decoder] -> logits

Tables are read by row and stay in the mapped file; a runtime that rearranges weights for its kernels, or keeps a
rearranged copy on disk, does so for the decoder alone. Other modalities put their features in the place of
`inputs_embeds`. Source of the two names: the inputs of HF `Gemma4TextModel.forward`.
"""

from __future__ import annotations

import onnx_ir as ir

from g4compile.errors import SpecError
from g4compile.graph.edit import constant_array
from g4compile.graph.stage import LEGAL, set_stage, stage_of

# What may stand between the ids and a row: placeholders to padding, the lookup, its scale, its shape.
_LOOKUPS = {"Gather": 0, "GatherBlockQuantized": 0, "QGather": 1}  # op -> which operand is the table
_AROUND = _LOOKUPS.keys() | {"Equal", "Or", "Where", "Cast", "Mul", "Slice", "Reshape"}
_OUTPUTS = {"embed_tokens.weight": "inputs_embeds", "embed_tokens_per_layer.weight": "per_layer_inputs"}


def split_embedding(model: ir.Model) -> dict[str, ir.Model]:
    """``model`` cut in place: it becomes `decoder`; `embed` is new. Both use the same weight references.

    Raises SpecError when the ids are used for anything but lookups.
    """
    graph = model.graph
    ids = next(value for value in graph.inputs if value.name == "input_ids")
    tables = _tables(graph, ids)
    cut = [value for value in tables if any(node.outputs[0] not in tables for node in value.consumers())]
    names = {value: _output_name(tables[value], value) for value in cut}
    nodes = [node for node in graph if node.outputs[0] in tables]
    used = {operand for node in nodes for operand in node.inputs if operand is not None}
    shared = [value for value in graph.initializers.values() if value in used]
    embed = _embed_graph(ids, nodes, cut, names, shared)
    for value in cut:
        outside = ir.Value(name=names[value], shape=value.shape, type=value.type)
        graph.inputs.append(outside)
        for node, index in list(value.uses()):
            if node.outputs[0] not in tables:
                node.replace_input_with(index, outside)
    graph.remove(nodes, safe=True)
    if ids.uses():
        raise SpecError("the decoder reads token ids itself", where=str(ids.consumers()[0].name))
    graph.inputs.remove(ids)
    for value in shared:
        if not value.uses():
            del graph.initializers[str(value.name)]
    split = ir.Model(embed, ir_version=model.ir_version)
    set_stage(split, LEGAL + stage_of(model).removeprefix(LEGAL))
    return {"embed": split, "decoder": model}


def _tables(graph: ir.Graph, ids: ir.Value) -> dict[ir.Value, str]:
    """Values computed from the ids and constants by lookups, and the name of the table behind each."""
    found: dict[ir.Value, str] = {ids: ""}
    for node in graph:
        from_ids = [value for value in node.inputs if value in found]
        rest = [value for value in node.inputs if value is not None and value not in found]
        looked_up = node.inputs[_LOOKUPS[node.op_type]] if node.op_type in _LOOKUPS else None
        lookup = looked_up is not None and looked_up in rest
        if not from_ids or node.op_type not in _AROUND or not all(_fixed(value, lookup) for value in rest):
            continue
        if node.op_type == "Cast" and found[from_ids[0]]:
            continue  # rows are handed over in their own dtype
        table = str(looked_up.name) if lookup and looked_up is not None else found[from_ids[0]]
        found.update(dict.fromkeys(node.outputs, table))
    del found[ids]
    return found


def _fixed(value: ir.Value, lookup: bool) -> bool:
    return constant_array(value) is not None or (lookup and value.is_initializer())


def _output_name(table: str, value: ir.Value) -> str:
    for key, name in _OUTPUTS.items():
        if key in table:
            return name
    raise SpecError(f"the table {table or 'of ids'} is none that Gemma 4 has", where=str(value.name))


def _embed_graph(
    ids: ir.Value, nodes: list[ir.Node], cut: list[ir.Value], names: dict[ir.Value, str], shared: list[ir.Value]
) -> ir.Graph:
    """Copies of ``nodes`` over copies of what they read."""
    graph = nodes[0].graph
    assert isinstance(graph, ir.Graph)
    new: dict[ir.Value | None, ir.Value] = {ids: ir.Value(name=ids.name, shape=ids.shape, type=ids.type)}
    for value in shared:
        new[value] = ir.Value(name=value.name, shape=value.shape, type=value.type, const_value=value.const_value)
    copies = []
    for node in nodes:
        outputs = [ir.Value(name=names.get(value), shape=value.shape, type=value.type) for value in node.outputs]
        inputs = [new.get(value) for value in node.inputs]
        attributes = list(node.attributes.values())
        copies.append(ir.Node(node.domain, node.op_type, inputs, attributes, outputs=outputs, name=node.name))
        new.update(zip(node.outputs, outputs, strict=True))
    return ir.Graph(
        [new[ids]],
        [new[value] for value in cut],
        nodes=copies,
        initializers=[new[value] for value in shared],
        opset_imports=dict(graph.opset_imports),
        name="embed",
    )
