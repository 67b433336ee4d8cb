"""The interpreter, layer by layer: a network of one layer, emitted by hand, against NumPy."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from g4compile.errors import Defect
from g4compile.ops.flash_attention import FlashAttention
from g4compile.targets.tensorrt.interpreter.interpreter import Interpreter
from g4compile.targets.tensorrt.interpreter.layers import LAYERS
from g4compile.targets.tensorrt.interpreter.plugged import PluggedBuilder, stand_in
from g4compile.targets.tensorrt.launches import chain

trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'g4compile[tensorrt-rtx]'")
RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((2, 3, 4)).astype(np.float32)
Y = RANDOM.standard_normal((2, 3, 4)).astype(np.float32)
HEADS = RANDOM.standard_normal((1, 4, 3, 8)).astype(np.float32)
KEYS = RANDOM.standard_normal((1, 2, 5, 8)).astype(np.float32)
VALUES = RANDOM.standard_normal((1, 2, 5, 8)).astype(np.float32)
MASK = np.where(RANDOM.random((1, 1, 3, 5)) > 0.3, 0, -3e38).astype(np.float32)
MASK[..., 0] = 0
ANGLES = RANDOM.standard_normal((1, 3, 2)).astype(np.float32)
_TYPES = {"float32": trt.float32, "int32": trt.int32, "bool": trt.bool, "int8": trt.int8}


def run(build, *arrays, exact=True, dtypes=None):
    """The outputs of a network whose inputs are ``arrays`` and whose one layer ``build`` adds."""
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    network = builder.create_network(0)
    inputs = [
        network.add_input(f"in{i}", (dtypes or {}).get(i, _TYPES[array.dtype.name]), array.shape)
        for i, array in enumerate(arrays)
    ]
    layer = build(network, *inputs)
    for index in range(layer.num_outputs):
        layer.get_output(index).name = f"out{index}"
        network.mark_output(layer.get_output(index))
    (found,) = Interpreter(trt, [network], [{}], exact).run([{f"in{i}": array for i, array in enumerate(arrays)}])
    return [found[f"out{index}"].float().numpy() for index in range(layer.num_outputs)]


def configured(make, **attributes):
    def build(*operands):
        layer = make(*operands)
        for name, value in attributes.items():
            setattr(layer, name, value)
        return layer

    return build


def elementwise(operation):
    return lambda network, a, b: network.add_elementwise(a, b, getattr(trt.ElementWiseOperation, operation))


def softmax(x):
    shifted = np.exp(x - x.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)


def rotated(x, angles, width):
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    low, high = x[..., : width // 2], x[..., width // 2 : width]
    return np.concatenate([low * cos - high * sin, high * cos + low * sin, x[..., width:]], -1)


def attended(q, k, v, mask):
    k, v = np.repeat(k, 2, 1), np.repeat(v, 2, 1)
    return softmax(q @ k.swapaxes(-1, -2) + mask) @ v


def attention(network, q, k, v, mask=None):
    layer = network.add_attention_v2(q, k, v, trt.AttentionNormalizationOp.SOFTMAX, trt.CausalMaskKind.NONE)
    layer.decomposable = False
    if mask is not None:
        layer.mask = mask
    return layer


def written(cache, new, at):
    out = cache.copy()
    out[:, :, at[0] : at[0] + new.shape[2]] = new
    return out


def convolution(network, x, kernel):
    """Of one channel to two, in steps of 2 and 1, with more in front than behind."""
    none = trt.Weights(trt.float32)
    layer = network.add_convolution_nd(x, 2, (2, 3), none, none)
    layer.set_input(1, kernel)
    layer.stride_nd, layer.pre_padding, layer.post_padding = (2, 1), (1, 2), (0, 0)
    return layer


def convolved(x):
    padded = np.pad(x, [(0, 0), (1, 0), (2, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2, 3), axis=(1, 2))[:, ::2]
    return np.einsum("bijhw,ochw->boij", windows, KERNEL)


KERNEL = RANDOM.standard_normal((2, 1, 2, 3)).astype(np.float32)
PAIRS = np.array([[1, 0], [0, 2], [1, 2]], np.int32)
INDEX = np.array([[1, 0], [2, 2]], np.int32)
GELU = 0.5 * X * (1 + np.tanh(np.sqrt(2 / np.pi) * (X + 0.044715 * X**3)))
TOP = np.sort(X, -1)[..., ::-1][..., :2]
CASES = {
    "sum": (elementwise("SUM"), (X, Y), X + Y),
    "sub": (elementwise("SUB"), (X, Y), X - Y),
    "prod": (elementwise("PROD"), (X, Y), X * Y),
    "div": (elementwise("DIV"), (X, Y), X / Y),
    "floor_div": (elementwise("FLOOR_DIV"), (X, Y), np.floor(X / Y)),
    "greater": (elementwise("GREATER"), (X, Y), X > Y),
    "and": (elementwise("AND"), (X > 0, Y > 0), (X > 0) & (Y > 0)),
    "or": (elementwise("OR"), (X > 0, Y > 0), (X > 0) | (Y > 0)),
    "activation gelu": (lambda n, x: n.add_activation(x, trt.ActivationType.GELU_TANH), (X,), GELU),
    "activation tanh": (lambda n, x: n.add_activation(x, trt.ActivationType.TANH), (X,), np.tanh(X)),
    "activation relu": (lambda n, x: n.add_activation(x, trt.ActivationType.RELU), (X,), np.maximum(X, 0)),
    "activation sigmoid": (lambda n, x: n.add_activation(x, trt.ActivationType.SIGMOID), (X,), 1 / (1 + np.exp(-X))),
    "activation softplus": (
        configured(lambda n, x: n.add_activation(x, trt.ActivationType.SOFTPLUS), alpha=0.5, beta=2.0),
        (X,),
        0.5 * np.log(np.exp(2 * X) + 1),
    ),
    "unary sqrt": (lambda n, x: n.add_unary(x, trt.UnaryOperation.SQRT), (np.abs(X),), np.sqrt(np.abs(X))),
    "unary not": (lambda n, x: n.add_unary(x, trt.UnaryOperation.NOT), (X > 0,), X <= 0),
    "cast": (lambda n, x: n.add_cast(x, trt.int32), (X * 5,), np.trunc(X * 5)),
    "reduce": (lambda n, x: n.add_reduce(x, trt.ReduceOperation.AVG, 1 << 2, True), (X,), X.mean(-1, keepdims=True)),
    "reduce sum": (lambda n, x: n.add_reduce(x, trt.ReduceOperation.SUM, 1 << 1, False), (X,), X.sum(1)),
    "softmax": (configured(lambda n, x: n.add_softmax(x), axes=1 << 2), (X,), softmax(X)),
    "shuffle": (
        configured(lambda n, x: n.add_shuffle(x), first_transpose=(0, 2, 1), reshape_dims=(0, -1)),
        (X,),
        X.swapaxes(1, 2).reshape(2, -1),
    ),
    "slice": (lambda n, x: n.add_slice(x, [0, 1, 0], [2, 1, 2], [1, 1, 2]), (X,), X[:, 1:2, 0:3:2]),
    "slice step 0": (lambda n, x: n.add_slice(x, [1, 0, 2], [1, 2, 3], [1, 1, 0]), (X,), X[1:, :2, [2, 2, 2]]),
    "slice filled": (
        configured(lambda n, x: n.add_slice(x, [0, -2, 0], [2, 6, 2], [1, 1, 2]), mode=trt.SampleMode.FILL),
        (X,),
        np.pad(X, [(0, 0), (2, 1), (0, 0)])[..., ::2],
    ),
    "convolution": (convolution, (X[:, None, :, :], KERNEL), convolved(X)),
    "concatenation": (
        configured(lambda n, x, y: n.add_concatenation([x, y]), axis=1),
        (X, Y),
        np.concatenate([X, Y], 1),
    ),
    "gather nd": (lambda n, x, i: n.add_gather_v2(x, i, trt.GatherMode.ND), (X, PAIRS), X[PAIRS[:, 0], PAIRS[:, 1]]),
    "gather": (lambda n, x, i: n.add_gather(x, i, 1), (X, INDEX), X[:, INDEX]),
    "select": (lambda n, c, x, y: n.add_select(c, x, y), (X > 0, X, Y), np.where(X > 0, X, Y)),
    "shape": (lambda n, x: n.add_shape(x), (X,), np.array(X.shape)),
    "topk": (lambda n, x: n.add_topk(x, trt.TopKOperation.MAX, 2, 1 << 2), (X,), TOP),
    "matrix_multiply": (
        lambda n, a, b: n.add_matrix_multiply(a, trt.MatrixOperation.NONE, b, trt.MatrixOperation.TRANSPOSE),
        (X, Y),
        X @ Y.swapaxes(-1, -2),
    ),
    "rotary_embedding": (
        lambda n, x, c, s: n.add_rotary_embedding(x, c, s, False, 4),
        (HEADS, np.cos(ANGLES), np.sin(ANGLES)),
        rotated(HEADS, ANGLES, 4),
    ),
    "kv_cache_update": (
        lambda n, c, x, at: n.add_kv_cache_update(c, x, at, trt.KVCacheMode.LINEAR),
        (KEYS, VALUES[:, :, :2], np.array([3], np.int32)),
        written(KEYS, VALUES[:, :, :2], [3]),
    ),
    "attention": (attention, (HEADS, KEYS, VALUES, MASK), attended(HEADS, KEYS, VALUES, MASK)),
    "attention without a mask": (attention, (HEADS, KEYS, VALUES), attended(HEADS, KEYS, VALUES, 0)),
}


@pytest.mark.parametrize("name", CASES)
def test_layer_is_what_numpy_says(name):
    build, arrays, wanted = CASES[name]
    dtypes = dict.fromkeys(range(4), trt.bfloat16) if name.startswith(("attention", "rotary")) else None
    if name == "kv_cache_update":
        dtypes = {0: trt.bfloat16, 1: trt.bfloat16}
    found = run(build, *arrays, dtypes=dtypes)[0]
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, np.asarray(wanted, np.float32), rtol=1e-5, atol=1e-6)


def test_every_layer_has_a_case():
    kinds = {name.split()[0] for name in CASES}
    assert {"sum", "sub", "prod", "div", "floor_div", "greater", "and"} <= kinds
    shown = {
        "activation",
        "unary",
        "cast",
        "reduce",
        "softmax",
        "shuffle",
        "slice",
        "gather",
        "select",
        "shape",
        "topk",
    }
    shown |= {"matrix_multiply", "rotary_embedding", "kv_cache_update", "concatenation"}
    others = {"elementwise", "attention_input", "attention_output", "one_hot", "dequantize"}
    shown |= {"convolution"}
    others |= {"cumulative", "scatter", "plugin_v3"}
    assert {kind.lower() for kind in LAYERS} == shown | others


def test_one_hot_and_dequantize():
    def one_hot(network, indices, values):
        depth = network.add_constant((), trt.Weights(np.array(3, np.int32)))
        depth.get_output(0).name = "depth"
        return network.add_one_hot(indices, values, depth.get_output(0), -1)

    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    network = builder.create_network(0)
    inputs = [network.add_input("i", trt.int32, (2, 2)), network.add_input("v", trt.float32, (2,))]
    layer = one_hot(network, *inputs)
    layer.get_output(0).name = "out"
    network.mark_output(layer.get_output(0))
    feeds = {"i": INDEX, "v": np.array([0, 1], np.float32)}
    (found,) = Interpreter(trt, [network], [{"depth": np.array(3, np.int32)}]).run([feeds])
    np.testing.assert_array_equal(found["out"].numpy(), np.eye(3)[INDEX])
    codes = RANDOM.integers(-127, 127, (4, 8)).astype(np.int8)
    scale = np.array(0.25, np.float32)
    dequantized = run(lambda n, q, s: n.add_dequantize(q, s, trt.float32), codes, scale)[0]
    np.testing.assert_array_equal(dequantized, codes * scale)


@pytest.mark.parametrize(("exclusive", "wanted"), [(False, [1, 3, 3, 7]), (True, [0, 1, 3, 3])])
def test_cumulative(exclusive, wanted):
    network = trt.Builder(trt.Logger(trt.Logger.ERROR)).create_network(0)
    axis = network.add_constant((), trt.Weights(np.array(0, np.int32))).get_output(0)
    axis.name = "axis"
    x = network.add_input("x", trt.int32, (4, 2))
    out = network.add_cumulative(x, axis, trt.CumulativeOperation.SUM, exclusive, False).get_output(0)
    out.name = "out"
    network.mark_output(out)
    rows = np.array([1, 2, 0, 4], np.int32)
    feeds = {"x": np.stack([rows, 10 * rows], 1)}
    (found,) = Interpreter(trt, [network], [{"axis": np.array(0, np.int32)}]).run([feeds])
    np.testing.assert_array_equal(found["out"].numpy(), np.stack([wanted, 10 * np.array(wanted)], 1))


def scatter(network, data, indices, updates):
    layer = network.add_scatter(data, indices, updates, trt.ScatterMode.ELEMENT)
    layer.axis = 0
    return layer


def test_scatter():
    data, updates = np.full(6, -1, np.int32), np.array([7, 8, 9], np.int32)
    (found,) = run(scatter, data, np.array([4, 0, 5], np.int32), updates)
    np.testing.assert_array_equal(found, [8, -1, -1, -1, 7, 9])
    with pytest.raises(Defect, match="writes a place twice"):
        run(scatter, data, np.array([4, 0, 4], np.int32), updates)


def test_shuffle_to_the_shape_of_another():
    def build(network, x, like):
        shape = network.add_shape(like)
        shape.get_output(0).name = "shape"
        layer = network.add_shuffle(x)
        layer.set_input(1, shape.get_output(0))
        return layer

    (found,) = run(build, X, np.zeros((4, 6), np.float32))
    np.testing.assert_array_equal(found, X.reshape(4, 6))


def test_a_plugin_stands_where_it_was_added():
    """Behind a layer that feeds it and before one that reads it; its stand-in is no input."""
    made = trt.Builder(trt.Logger(trt.Logger.ERROR))
    network = PluggedBuilder(made).create_network(0)
    shapes = {"q": (1, 3, 4, 8), "k": (1, 2, 5, 8), "v": (1, 2, 5, 8)}
    q, k, v = (network.add_input(name, trt.float32, shape) for name, shape in shapes.items())
    positions = network.add_input("positions", trt.int32, (1, 3))
    negated = network.add_unary(q, trt.UnaryOperation.NEG)
    negated.get_output(0).name = "negated"
    operands = [negated.get_output(0), positions, k, v]
    values = [ir.Value(name=one.name, shape=ir.Shape(list(one.shape))) for one in operands]
    node = FlashAttention.create(*values)
    node.outputs[0].type = ir.TensorType(ir.DataType.BFLOAT16)
    (link,) = chain(node, {f"i{place}": list(one.shape) for place, one in enumerate(operands)}, ())
    layer = network.add_plugin(stand_in(link.launch, operands), True)
    layer.get_output(0).name = "attended"
    out = network.add_unary(layer.get_output(0), trt.UnaryOperation.ABS).get_output(0)
    out.name = "out"
    network.mark_output(out)
    assert [network.get_layer(index).type.name for index in range(network.num_layers)] == [
        "UNARY",
        "PLUGIN_V3",
        "UNARY",
    ]
    assert [network.get_input(index).name for index in range(network.num_inputs)] == ["q", "k", "v", "positions"]
    feeds = {"q": HEADS.swapaxes(1, 2), "k": KEYS, "v": VALUES, "positions": np.array([[1, 2, 3]], np.int32)}
    (found,) = Interpreter(trt, [network], [{}]).run([feeds])
    mask = np.where(np.arange(5) <= 1 + np.arange(3)[:, None], 0, -np.inf)
    want = np.abs(attended(-HEADS, KEYS, VALUES, mask)).swapaxes(1, 2)
    np.testing.assert_allclose(found["out"].numpy(), want, rtol=1e-5, atol=1e-6)


def test_bfloat16_is_rounded_unless_exact():
    def build(network, a, b):
        return network.add_elementwise(a, b, trt.ElementWiseOperation.SUM)

    narrow = {0: trt.bfloat16, 1: trt.bfloat16}
    exact = run(build, X, Y, dtypes=narrow)[0]
    rounded = run(build, X, Y, exact=False, dtypes=narrow)[0]
    np.testing.assert_array_equal(exact, X + Y)
    assert 0 < np.abs(rounded - exact).max() < 0.03


def test_what_cannot_be_is_refused():
    def update(network, cache, new, at):
        return network.add_kv_cache_update(cache, new, at, trt.KVCacheMode.LINEAR)

    narrow = {0: trt.bfloat16, 1: trt.bfloat16}
    with pytest.raises(Defect, match="does not wrap"):
        run(update, KEYS, VALUES[:, :, :2], np.array([4], np.int32), dtypes=narrow)
    with pytest.raises(Defect, match="was not fed"):
        network = trt.Builder(trt.Logger(trt.Logger.ERROR)).create_network(0)
        network.add_input("x", trt.float32, (1,))
        Interpreter(trt, [network], [{}]).run([{}])
