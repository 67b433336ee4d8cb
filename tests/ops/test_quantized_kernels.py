"""Codes behind a product or a lookup: ONNX Runtime's kernels compute what `g4.Dequantize` means."""

import numpy as np
import onnx_ir as ir
import pytest

from g4compile.graph.stage import set_stage
from g4compile.graph.text import renumber
from g4compile.ops.registry import attach_bodies
from g4compile.ops.schema import DOMAIN, OPSET, VERSION
from g4compile.passes.canonicalize_dead_code import CanonicalizeDeadCode
from g4compile.targets import TARGETS
from g4compile.targets.onnx.lower_quantized_weights import LowerQuantizedWeights
from g4compile.weights.formats.blocks import BlockFormat
from g4compile.weights.quantized import QuantizedMatrix, QuantizedTensor
from g4compile.weights.references import CheckpointTensor
from tests.ops.test_ops import run

# Of a float32 sum, relative to the sum of its terms' sizes: which kernel adds up in which order is the processor's.
ROUNDING = 4 * np.finfo(np.float32).eps


class Rows(CheckpointTensor):
    """A weight that is given, not stored."""

    def __init__(self, array):
        super().__init__("layers.0.it.weight", ir.DataType.FLOAT, array.shape)
        self.array = array

    def read_rows(self, start, stop):
        return self.array.reshape(-1, self.array.shape[-1])[start:stop]


def model_of(op_type, format, weight, operand, exact=True):
    matrix = QuantizedMatrix(Rows(weight), format, "nearest")
    parts = []
    for part in matrix.parts:
        tensor = QuantizedTensor(matrix, part)
        parts.append(ir.Value(name=part, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor))
    x = ir.Value(name="in0", shape=ir.Shape(operand.shape), type=ir.TensorType(ir.DataType.from_numpy(operand.dtype)))
    attributes = {"bits": format.bits, "columns": weight.shape[-1], "activation_bits": 0 if exact else 8}
    overload = "no_zero_points" if format.symmetric else ""
    dequantize = ir.node("Dequantize", parts, attributes, domain=DOMAIN, overload=overload, name="layers.0/a")
    dequantize.outputs[0].shape, dequantize.outputs[0].type = ir.Shape(weight.shape), ir.TensorType(ir.DataType.FLOAT)
    w = dequantize.outputs[0]
    node = (
        ir.node("Linear", [x, w], domain=DOMAIN, name="layers.0/b")
        if op_type == "Linear"
        else ir.node("Gather", [w, x], {"axis": 0}, name="layers.0/b")
    )
    shape = (*operand.shape[:-1], weight.shape[0]) if op_type == "Linear" else (*operand.shape, *weight.shape[1:])
    out = node.outputs[0]
    out.name, out.shape, out.type = "out0", ir.Shape(shape), ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph(
        [x], [out], nodes=[dequantize, node], initializers=parts, opset_imports={"": OPSET, DOMAIN: VERSION}, name="g"
    )
    model = ir.Model(graph, ir_version=11)
    set_stage(model, "quantized")
    attach_bodies(model)
    return model, matrix.dequantized()


def lowered(model):
    LowerQuantizedWeights().apply(model)
    TARGETS["onnx-cpu"].legalize().apply(model)
    CanonicalizeDeadCode().apply(model)
    model.functions.clear()
    renumber(model)
    return model


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("block", [32, 64, 128, 0])
@pytest.mark.parametrize("columns", [32, 100, 256])
def test_exact_products(symmetric, block, columns):
    random = np.random.default_rng(columns)
    weight = random.standard_normal((24, columns)).astype(np.float32)
    x = random.standard_normal((2, 3, columns)).astype(np.float32)
    model, meant = model_of("Linear", BlockFormat(4, block, symmetric), weight, x)
    want, size = x.astype(np.float64) @ meant.T.astype(np.float64), np.abs(x) @ np.abs(meant.T)
    assert (np.abs(run(model, [x])[0] - want) <= ROUNDING * size).all()
    found = lowered(model)
    assert [node.op_type for node in found.graph] == ["MatMulNBits"]
    assert (np.abs(run(found, [x])[0] - want) <= ROUNDING * size).all()


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize(("bits", "block"), [(2, 32), (2, 64), (2, 128), (4, 128), (4, 0), (8, 32), (8, 128), (8, 0)])
@pytest.mark.parametrize("columns", [96, 256])
def test_products_that_round_activations(symmetric, bits, block, columns):
    """8 bits of a block's largest activation: within 2% of the largest result."""
    random = np.random.default_rng(columns)
    weight = random.standard_normal((24, columns)).astype(np.float32)
    x = random.standard_normal((5, columns)).astype(np.float32)
    model, meant = model_of("Linear", BlockFormat(bits, block, symmetric), weight, x, exact=False)
    want = x @ meant.T
    assert np.abs(run(lowered(model), [x])[0] - want).max() < 0.02 * np.abs(want).max()


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("block", [32, 128, 0])
@pytest.mark.parametrize("columns", [32, 100, 256])
def test_lookups_are_exact(symmetric, bits, block, columns):
    random = np.random.default_rng(columns)
    weight = random.standard_normal((24, columns)).astype(np.float32)
    ids = np.array([[0, 23, 5], [7, 7, 1]])
    model, meant = model_of("Gather", BlockFormat(bits, block, symmetric), weight, ids)
    np.testing.assert_array_equal(run(lowered(model), [ids])[0], meant[ids])


def test_an_experts_table_is_looked_up_by_expert():
    weight = np.random.default_rng(0).standard_normal((4, 6, 64)).astype(np.float32)
    ids = np.array([3])
    model, meant = model_of("Gather", BlockFormat(4, 32), weight, ids)
    np.testing.assert_array_equal(run(lowered(model), [ids])[0], meant[ids])
