"""A builder gives standard ops the shapes and dtypes of ONNX's own rules, and refuses operands that do not fit."""

import onnx_ir as ir
import pytest

from g4compile.errors import Defect
from g4compile.graph.build import Builder
from tests.graph.graphs import anchored, value

FLOAT, INT, BOOL = ir.DataType.FLOAT, ir.DataType.INT64, ir.DataType.BOOL
X, IDS, HALF = ("batch", "new", 8), ("batch", "new"), ir.DataType.BFLOAT16


def made(op_type, *operands, **attributes):
    """Sizes and dtype of the op's result. Operands are values, or constants as the builder takes them."""
    values = [one for one in operands if isinstance(one, ir.Value)]
    build = Builder(anchored(*values))
    inputs = [one if isinstance(one, ir.Value) else build.constant(one) for one in operands]
    out = build.op(op_type, *inputs, **attributes)
    return [size if isinstance(size, int) else size.value for size in out.shape], out.dtype


@pytest.mark.parametrize(
    ("found", "sizes", "dtype"),
    [
        (lambda: made("Add", value("x", *X), value("y", *X)), [*X], FLOAT),
        (lambda: made("Mul", value("x", *X, dtype=HALF), value("s", 8, dtype=HALF)), [*X], HALF),
        (lambda: made("Equal", value("x", *X), value("y")), [*X], BOOL),
        (lambda: made("Cast", value("x", *X), to=int(HALF)), [*X], HALF),
        (lambda: made("MatMul", value("x", *X), value("w", 8, 5)), ["batch", "new", 5], FLOAT),
        (lambda: made("Transpose", value("x", *X), perm=[2, 0, 1]), [8, "batch", "new"], FLOAT),
        (lambda: made("Gather", value("t", 100, 8), value("i", *IDS, dtype=INT), axis=0), [*X], FLOAT),
        (lambda: made("Reshape", value("x", *X), [0, 0, 2, 4]), ["batch", "new", 2, 4], FLOAT),
        (lambda: made("Unsqueeze", value("x", *X), [-2]), ["batch", "new", 1, 8], FLOAT),
        (lambda: made("Slice", value("x", *X), [2], [5], [2]), ["batch", "new", 3], FLOAT),
        (lambda: made("ReduceSum", value("x", *X), [-1], keepdims=0), ["batch", "new"], FLOAT),
        (lambda: made("Shape", value("x", *X)), [3], INT),
        (lambda: made("Concat", value("x", *X), value("y", *X), axis=-1), ["batch", "new", 16], FLOAT),
    ],
)
def test_shape_and_dtype_follow_from_the_operands(found, sizes, dtype):
    assert found() == (sizes, dtype)


def test_an_op_of_several_outputs():
    build = Builder(anchored(value("x", *X)))
    top, index = build.op_with_outputs(2, "TopK", build.graph.inputs[0], build.constant([3]), axis=-1)
    assert [one.shape[-1] for one in (top, index)] == [3, 3]
    assert [one.dtype for one in (top, index)] == [FLOAT, INT]


@pytest.mark.parametrize(
    ("op_type", "operands", "attributes", "words"),
    [
        ("Add", [value("x", 2, 8), value("y", 2, 7)], {}, "FLOAT [2,8], FLOAT [2,7]"),
        ("MatMul", [value("x", 2, 8), value("w", 7, 8)], {}, "FLOAT [2,8], FLOAT [7,8]"),
        ("Transpose", [value("x", 2, 8)], {"perm": [0, 2]}, "FLOAT [2,8]"),
    ],
)
def test_operands_that_do_not_fit_are_refused_with_their_shapes(op_type, operands, attributes, words):
    build = Builder(anchored(*operands))
    before = build.graph.num_nodes()
    with pytest.raises(Defect, match=f"{op_type} cannot be made of these operands") as error:
        build.op(op_type, *operands, **attributes)
    assert error.value.where == words
    assert error.value.why
    assert build.graph.num_nodes() == before  # nothing of it is left in the graph


def test_nodes_stand_before_the_anchor_and_are_named_as_it():
    anchor = anchored(value("x", *X))
    build = Builder(anchor)
    build.op("Tanh", build.op("Neg", build.graph.inputs[0]))
    assert [node.op_type for node in build.graph] == ["Neg", "Tanh", "Identity"]
    assert [node.name for node in build.made] == ["layers.3.mlp/Neg", "layers.3.mlp/Tanh"]


def test_equal_constants_are_one_and_a_cast_to_the_same_dtype_is_none():
    build = Builder(anchored(value("x", *X)))
    assert build.constant([1, 2]) is build.constant((1, 2))
    assert build.constant([1, 2]) is not build.constant([1, 2], FLOAT)
    (x,) = build.graph.inputs
    assert build.cast(x, FLOAT) is x
    assert build.cast(x, HALF).dtype == HALF


def test_a_node_in_no_graph_is_no_anchor():
    with pytest.raises(Defect, match="in front of one that stands in no graph"):
        Builder(ir.node("Identity", [value("x", 2)], name="alone"))
