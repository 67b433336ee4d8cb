"""Building nodes in front of an anchor: shapes and dtypes of standard ops are inferred by ONNX's own rules.

Passes and lowerings make nodes with a `Builder`, and edit with `edit.replace` and `onnx_ir`'s own remove. Ops of ours
are made by their own class (`ops/op.py`), which infers by the op's shape strings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
import onnx_ir as ir

from g4compile.errors import Defect
from g4compile.graph.edit import Constant, constant, constant_array, module_of

Size = int | str | ir.SymbolicDim | None


class Builder:
    """Makes nodes before ``anchor``, named after the module that the anchor came from. ``made``: those nodes, in
    order."""

    def __init__(self, anchor: ir.Node) -> None:
        graph = anchor.graph
        if not isinstance(graph, ir.Graph):
            raise Defect("a node is built in front of one that stands in no graph", where=str(anchor.name))
        self.anchor, self.graph = anchor, graph
        self.made: list[ir.Node] = []

    def constant(self, value: Constant, dtype: ir.DataType = ir.DataType.INT64) -> ir.Value:
        """An initializer that holds ``value``; equal constants are one."""
        return constant(self.graph, value, dtype)

    def op(self, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """A standard op with one output."""
        return self.op_with_outputs(1, op_type, *inputs, **attributes)[0]

    def op_with_outputs(self, count: int, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> list[ir.Value]:
        """A standard op with ``count`` outputs."""
        node = ir.node(op_type, inputs, attributes, num_outputs=count)
        for value, found in zip(node.outputs, infer(node, self.graph.opset_imports[""]), strict=True):
            value.type, value.shape = found
        return self.insert(node)

    def cast(self, x: ir.Value, dtype: ir.DataType) -> ir.Value:
        """``x`` in ``dtype``; itself when it is that already."""
        return x if x.dtype == dtype else self.op("Cast", x, to=int(dtype))

    def insert(self, node: ir.Node) -> list[ir.Value]:
        """Put a node that was made elsewhere, its outputs typed, before the anchor. Its outputs."""
        node.name = f"{module_of(self.anchor)}/{node.op_type}"
        self.graph.insert_before(self.anchor, node)
        self.made.append(node)
        return list(node.outputs)


def infer(node: ir.Node, opset: int) -> list[tuple[ir.TypeProtocol | None, ir.Shape | None]]:
    """Type and shape of each output of a standard op, as ONNX's schema infers them; None for what does not follow.

    Operands are read as far as they are small constants (sizes, axes). Raises Defect when the operands do not fit the
    op.
    """
    schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
    proto = ir.serde.serialize_node(node)
    names = [f"in{index}" if value is not None else "" for index, value in enumerate(node.inputs)]
    outputs = [f"out{index}" for index in range(len(node.outputs))]
    del proto.input[:], proto.output[:]
    proto.input.extend(names)
    proto.output.extend(outputs)
    given = {name: value for name, value in zip(names, node.inputs, strict=True) if value is not None}
    types = {name: _type_proto(value) for name, value in given.items()}
    arrays = {name: array for name, value in given.items() if (array := constant_array(value)) is not None}
    data = {name: onnx.numpy_helper.from_array(array) for name, array in arrays.items() if array.dtype.kind == "i"}
    try:
        found = onnx.shape_inference.infer_node_outputs(
            schema, proto, types, data, opset_imports=[onnx.helper.make_opsetid(node.domain, opset)], ir_version=11
        )
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, ValueError) as error:
        shapes = ", ".join(f"{value.dtype} {value.shape}" for value in given.values())
        raise Defect(
            f"{node.op_type} cannot be made of these operands", where=shapes, why=str(error).strip().splitlines()[-1]
        ) from error
    return [_typed(found.get(name)) for name in outputs]


def _type_proto(value: ir.Value) -> onnx.TypeProto:
    sizes = None if value.shape is None else [size if isinstance(size, int) else size.value for size in value.shape]
    return onnx.helper.make_tensor_type_proto(int(value.dtype or 0), sizes)


def _typed(proto: onnx.TypeProto | None) -> tuple[ir.TypeProtocol | None, ir.Shape | None]:
    if proto is None:
        return None, None
    tensor = proto.tensor_type
    kind = ir.TensorType(ir.DataType(tensor.elem_type)) if tensor.elem_type else None
    if not tensor.HasField("shape"):
        return kind, None
    sizes: Sequence[Size] = [_size(dim) for dim in tensor.shape.dim]
    return kind, ir.Shape(sizes)


def _size(dim: Any) -> Size:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return str(dim.dim_param) if dim.HasField("dim_param") else None
