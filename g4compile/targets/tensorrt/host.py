"""What the host does for engines: lookups by token id, as data."""

from __future__ import annotations

import onnx_ir as ir

from g4compile.bundle.manifest import HostSpec, TableSpec
from g4compile.errors import SpecError
from g4compile.graph.axes import static_size
from g4compile.graph.edit import constant_array
from g4compile.weights.references import CheckpointTensor


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
    row = tuple(static_size(output, axis) for axis in range(2, len(output.shape)))
    return TableSpec(str(output.name), table.key, scale * table.scale, row)


def _scalar(value: ir.Value | None) -> int:
    array = constant_array(value)
    if array is None:
        raise SpecError("the placeholders of other modalities are not constants")
    return int(array)
