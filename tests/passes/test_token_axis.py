"""The token axis that a pass derives is the one that the op has: cut operands give the cut of the whole result.

Operands are cut to their last tokens, as `schedule-shared-tail` cuts them.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from g4compile.graph.build import infer
from g4compile.ops.registry import all_ops
from g4compile.ops.schema import OPSET
from g4compile.passes.token_axis import operand_axes, output_axes
from tests.ops.cases import CASES
from tests.ops.test_ops import QUICK, one_node, reference

# The operands of each op that hold tokens, and the axis, by hand.
TOKENS = {
    "AllReduce": {0: -2},
    "AxialRope": {0: -3, 1: -3, 2: -3},
    "BidirectionalAttention": {0: -2},
    "BlockMask": {0: -1, 1: -1, 2: -1},
    "CacheUpdate": {0: -2},
    "CausalAttention": {0: -2},
    "CausalMask": {0: -1},
    "Dequantize": {},
    "DequantizeKV": {0: -2, 1: -2},
    "DualRopeAttention": {0: -2, 2: -2, 3: -2, 6: -2},
    "FlashAttention": {0: -3, 1: -1},
    "GeGLU": {0: -2, 1: -2},
    "Linear": {0: -2},
    "MoEExperts": {0: -2, 1: -2, 2: -2},
    "QuantizeKV": {0: -2},
    "RMSNorm": {0: -2},
    "RelativeAttention": {0: -3, 1: -3, 2: -3},
    "RingBlockMask": {0: -1, 1: -1, 2: -1},
    "RingMask": {0: -1},
    "RopeKeyValue": {0: -2, 1: -2, 3: -2, 4: -2},
    "RoundActivations": {0: -1},
    "TransposedMatMul": {0: -2},
    "WindowedMask": {0: -1},
}
# Of these no axis is derived: past keys stand before the new ones, a query sees tokens before it, the place of a row
# says which token it is, or rows are no tokens.
WITHOUT = {
    "CacheUpdate", "Dequantize", "FlashAttention", "RelativeAttention", "TransposedMatMul"
}  # fmt: skip


def last(array, axis, count):
    """The last ``count`` places of ``array`` along ``axis``."""
    return np.take(array, range(array.shape[axis] - count, array.shape[axis]), axis)


def check_cut(node, arrays, run, known, count):
    """Whether an axis was derived; if it was, cutting first and cutting last must give the same."""
    axes = {node.inputs[index]: axis for index, axis in known.items() if index < len(node.inputs)}
    derived = output_axes(node, axes)
    axes |= derived
    if node.outputs[0] not in derived:
        assert not derived and not operand_axes(node, axes)
        return False
    cuts = operand_axes(node, axes)
    found = run([last(array, cuts[i], count) if i in cuts else array for i, array in enumerate(arrays)])
    for value, whole, part in zip(node.outputs, run(arrays), found, strict=True):
        wanted = last(whole, derived[value], count) if value in derived else whole
        assert wanted.shape == part.shape
        np.testing.assert_allclose(part, wanted, rtol=1e-5, atol=1e-5)
    return True


def test_every_op_is_here():
    assert set(TOKENS) == set(all_ops())


@pytest.mark.parametrize("name", TOKENS)
def test_cut_operands_give_the_cut_of_the_result(name):
    @QUICK
    @given(CASES[name], st.data())
    def check(case, data):
        arrays, attributes = case
        tokens = {index: axis for index, axis in TOKENS[name].items() if index < len(arrays)}
        # An operand may have tokens on an axis that was not derived.
        known = {index: axis for index, axis in tokens.items() if data.draw(st.booleans() | st.just(True))}
        count = data.draw(st.integers(1, min((arrays[i].shape[axis] for i, axis in tokens.items()), default=1)))
        node = one_node(name, arrays, attributes).graph[0]
        derived = check_cut(node, arrays, lambda given: reference(name, given, attributes), known, count)
        if known == tokens:
            assert derived == (name not in WITHOUT)

    check()


def numbers(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def ints(*values):
    return np.array(values, np.int64)


WIDTH = numbers(2, 5, 6)  # [B, S, 6]; the second size counts tokens in all of these
HEADS = numbers(2, 3, 5, 4)  # [B, N, S, D]
IDS = np.arange(10).reshape(2, 5) % 7

# (op, operands, attributes, token axes of operands, whether one is derived)
STANDARD = {
    "sum": ("Add", [WIDTH, numbers(2, 5, 6)], {}, {0: -2, 1: -2}, True),
    "sum with a vector": ("Add", [WIDTH, numbers(6)], {}, {0: -2}, True),
    "sum of which one axis is not known": ("Add", [WIDTH, numbers(2, 5, 6)], {}, {0: -2}, False),
    "sum with a column per token": ("Add", [HEADS, numbers(5, 1)], {}, {0: -2}, False),
    "soft-max of the last axis": ("Softmax", [WIDTH], {"axis": -1}, {0: -2}, True),
    "soft-max of tokens": ("Softmax", [WIDTH], {"axis": -1}, {0: -1}, False),
    "soft-max of another axis": ("Softmax", [WIDTH], {"axis": 1}, {0: -2}, False),
    "sum over the last axis": ("ReduceSum", [WIDTH, ints(-1)], {"keepdims": 1}, {0: -2}, True),
    "sum over tokens": ("ReduceSum", [WIDTH, ints(-1)], {"keepdims": 1}, {0: -1}, False),
    "sum that drops its axis": ("ReduceSum", [WIDTH, ints(-1)], {"keepdims": 0}, {0: -2}, False),
    "lookup by tokens": ("Gather", [numbers(7, 4), IDS], {"axis": 0}, {1: -1}, True),
    "one layer's share": ("Gather", [numbers(2, 5, 3, 4), np.array(1)], {"axis": -2}, {0: -3}, True),
    "one element": ("Gather", [WIDTH, np.array(1)], {"axis": -1}, {0: -2}, True),
    "one before the tokens": ("Gather", [HEADS, np.array(1)], {"axis": -3}, {0: -2}, True),
    "one token": ("Gather", [WIDTH, np.array(1)], {"axis": -2}, {0: -2}, False),
    "the first token": ("Gather", [IDS, np.array(0)], {"axis": 1}, {0: -1}, False),
    "heads in front": ("Transpose", [numbers(2, 5, 3, 4)], {"perm": [0, 2, 1, 3]}, {0: -3}, True),
    "tokens last": ("Transpose", [WIDTH], {"perm": [0, 2, 1]}, {0: -2}, True),
    "split into heads": ("Reshape", [WIDTH, ints(0, 0, 2, 3)], {}, {0: -2}, True),
    "flattened": ("Reshape", [WIDTH, ints(-1, 6)], {}, {0: -2}, False),
    "four axes split": ("Reshape", [HEADS, ints(0, 0, 10, 2)], {}, {0: -2}, False),
    "axis behind": ("Unsqueeze", [WIDTH, ints(-1)], {}, {0: -2}, True),
    "axis between": ("Unsqueeze", [WIDTH, ints(-2)], {}, {0: -2}, True),
    "axis before": ("Unsqueeze", [WIDTH, ints(-3)], {}, {0: -2}, True),
    "axis counted from the front": ("Unsqueeze", [WIDTH, ints(1)], {}, {0: -2}, False),
    "past and new": ("Concat", [HEADS, numbers(2, 3, 5, 4)], {"axis": 2}, {0: -2, 1: -2}, False),
}


@pytest.mark.parametrize("name", STANDARD)
def test_cut_operands_of_a_standard_op_give_the_cut_of_the_result(name):
    op_type, arrays, attributes, known, derived = STANDARD[name]
    node, run = standard(op_type, arrays, attributes)
    for count in (1, 3):
        assert check_cut(node, arrays, run, known, count) == derived


def standard(op_type, arrays, attributes):
    """A node whose operands are constants where they say sizes, axes and indices, and what it computes."""
    values = []
    for index, array in enumerate(arrays):
        dtype = ir.DataType.from_numpy(array.dtype)
        constant = ir.Tensor(array) if array.dtype.kind == "i" and array.ndim < 2 else None
        shape, kind = ir.Shape(array.shape), ir.TensorType(dtype)
        values.append(ir.Value(name=f"in{index}", shape=shape, type=kind, const_value=constant))
    node = ir.node(op_type, values, attributes)
    node.outputs[0].name = "out"
    node.outputs[0].type, node.outputs[0].shape = infer(node, OPSET)[0]
    inputs = [onnx.helper.make_tensor_value_info(v.name, int(v.dtype), None) for v in values]
    output = onnx.helper.make_tensor_value_info("out", int(node.outputs[0].dtype), None)
    graph = onnx.helper.make_graph([ir.serde.serialize_node(node)], "one", inputs, [output])
    evaluator = ReferenceEvaluator(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)]))
    return node, lambda given: evaluator.run(None, {v.name: array for v, array in zip(values, given, strict=True)})
