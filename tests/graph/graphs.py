"""Small graphs to build in."""

import onnx_ir as ir

from g4compile.ops.schema import DOMAIN, OPSET, VERSION


def value(name, *sizes, dtype=ir.DataType.FLOAT):
    return ir.Value(name=name, shape=ir.Shape(sizes), type=ir.TensorType(dtype))


def anchored(*inputs):
    """A node in a graph of ``inputs``, to build in front of."""
    anchor = ir.node("Identity", [inputs[0]], name="layers.3.mlp/Identity")
    anchor.outputs[0].name = "end"
    ir.Graph(inputs, anchor.outputs, nodes=[anchor], opset_imports={"": OPSET, DOMAIN: VERSION}, name="g")
    return anchor
