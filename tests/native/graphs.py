"""Graphs of the ops of domain g4, run by ONNX Runtime with the library."""

from __future__ import annotations

import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

FLOAT, BYTES, IDS = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT64
BFLOAT16 = TensorProto.BFLOAT16
TYPES = {"float32": FLOAT, "uint8": BYTES, "uint16": BFLOAT16, "int64": IDS}


def initializer(name, array, data_type=None):
    """uint16 holds the bits of bfloat16."""
    data_type = data_type or TYPES[array.dtype.name]
    return helper.make_tensor(name, data_type, array.shape, array.tobytes(), raw=True)


def weights(matrix, panels=None):
    """Operands of QLinear and QGather behind the first one: names and initializers."""
    arrays = {
        "codes": matrix.panels() if panels is None else panels,
        "scales": matrix.stored_scales(),
        "zero_points": matrix.stored_zeros(),
    }
    return {name: array for name, array in arrays.items() if array is not None}


def attributes(matrix, **more):
    rows, columns = matrix.shape
    return {"bits": matrix.bits, "block": matrix.block, "K": columns, "N": rows, **more}


def node(op, inputs, outputs, name=None, **given):
    return helper.make_node(op, inputs, outputs, name=name or f"the {op}", domain="g4", **given)


def model(nodes, inputs, outputs, initializers):
    """``inputs`` and ``outputs``: name -> type; shapes are free but for the rank of two."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        initializers,
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("g4", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def linear(matrix, arrays=None, x_type=FLOAT, op="QLinear", **more):
    """One product (or lookup) with constant weights: x -> y."""
    arrays = weights(matrix) if arrays is None else arrays
    given = attributes(matrix)
    given.update(more)
    given = {name: value for name, value in given.items() if value is not None}
    nodes = [node(op, ["x", *arrays], ["y"], **given)]
    initializers = [initializer(name, array) for name, array in arrays.items()]
    return model(nodes, {"x": (x_type, None)}, {"y": FLOAT}, initializers)


def session(library, built, threads=1, **entries):
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # what fails is read from the error
    options.register_custom_ops_library(str(library))
    for name, value in entries.items():
        options.add_session_config_entry(name.replace("__", "."), value)
    source = built.SerializeToString() if isinstance(built, onnx.ModelProto) else str(built)
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
