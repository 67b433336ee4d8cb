"""One table from ops to TensorRT layers. A rule takes (emitter, node), adds layers, and returns the node's tensors.

Source of the layers and what they accept: NVIDIA, TensorRT operators' reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from g4compile.errors import SpecError
from g4compile.graph.edit import constant_array
from g4compile.ops.all_reduce import AllReduce
from g4compile.ops.transposed_mat_mul import TransposedMatMul
from g4compile.targets.tensorrt.network.convolution import conv
from g4compile.targets.tensorrt.network.emitter import Emitter, Tensor
from g4compile.targets.tensorrt.network.norms import binary, layer_norm, rms_norm
from g4compile.targets.tensorrt.network.slicing import expand, gather, gather_nd, pad, slice_, split
from g4compile.targets.tensorrt.refusal import Refusal

Rule = Callable[[Emitter, ir.Node], list[Tensor]]


def _rank(e: Emitter, node: ir.Node) -> int:
    return max(len(e.tensor(value).shape) for value in node.inputs)


def _elementwise(operation: str) -> Rule:
    def rule(e: Emitter, node: ir.Node) -> list[Tensor]:
        rank = _rank(e, node)
        left, right = (e.tensor(value, rank) for value in node.inputs)
        return [e.layer(e.network.add_elementwise(left, right, getattr(e.trt.ElementWiseOperation, operation)))]

    return rule


def _unary(operation: str) -> Rule:
    def rule(e: Emitter, node: ir.Node) -> list[Tensor]:
        return [e.layer(e.network.add_unary(e.tensor(node.inputs[0]), getattr(e.trt.UnaryOperation, operation)))]

    return rule


def _activation(operation: str) -> Rule:
    def rule(e: Emitter, node: ir.Node) -> list[Tensor]:
        return [e.layer(e.network.add_activation(e.tensor(node.inputs[0]), getattr(e.trt.ActivationType, operation)))]

    return rule


def _gelu(e: Emitter, node: ir.Node) -> list[Tensor]:
    if node.attributes["approximate"].as_string() != "tanh":
        raise SpecError("Gemma 4's gelu is the tanh form", where=e.where)
    return _activation("GELU_TANH")(e, node)


def _less_or_equal(e: Emitter, node: ir.Node) -> list[Tensor]:
    """not (left > right): there is no layer for it."""
    rank = _rank(e, node)
    left, right = (e.tensor(value, rank) for value in node.inputs)
    greater = binary(e, left, right, "GREATER", "greater")
    return [e.layer(e.network.add_unary(greater, e.trt.UnaryOperation.NOT))]


def _mod(e: Emitter, node: ir.Node) -> list[Tensor]:
    """Of a divisor > 0, as Python's: a - floor(a / b) * b. Positions are exact in float32 (below 2^24)."""
    rank = _rank(e, node)
    left, right = (e.tensor(value, rank) for value in node.inputs)
    dividend, divisor = (e.layer(e.network.add_cast(x, e.trt.float32), "float") for x in (left, right))
    floor = binary(e, dividend, divisor, "FLOOR_DIV", "quotient")
    quotient = e.layer(e.network.add_cast(floor, e.trt.int32), "int32")
    return [binary(e, left, binary(e, quotient, right, "PROD", "multiple"), "SUB", "")]


def _cast(e: Emitter, node: ir.Node) -> list[Tensor]:
    return [e.layer(e.network.add_cast(e.tensor(node.inputs[0]), e.dtype(node.outputs[0].dtype)))]


def _clip(e: Emitter, node: ir.Node) -> list[Tensor]:
    rank = len(e.tensor(node.inputs[0]).shape)
    x, least, most = (e.tensor(value, rank) for value in node.inputs)
    return [binary(e, binary(e, x, least, "MAX", "least"), most, "MIN", "")]


def _concat(e: Emitter, node: ir.Node) -> list[Tensor]:
    layer = e.network.add_concatenation([e.tensor(value) for value in node.inputs])
    layer.axis = node.attributes["axis"].as_int() % len(e.tensor(node.inputs[0]).shape)
    return [e.layer(layer)]


def _where(e: Emitter, node: ir.Node) -> list[Tensor]:
    rank = _rank(e, node)
    return [e.layer(e.network.add_select(*(e.tensor(value, rank) for value in node.inputs)))]


def _reduce(operation: str) -> Rule:
    def rule(e: Emitter, node: ir.Node) -> list[Tensor]:
        x = e.tensor(node.inputs[0])
        axes = sum(1 << (axis % len(x.shape)) for axis in e.integers(node.inputs[1]))
        keep = bool(node.attributes["keepdims"].as_int())
        return [e.layer(e.network.add_reduce(x, getattr(e.trt.ReduceOperation, operation), axes, keep))]

    return rule


def _softmax(e: Emitter, node: ir.Node) -> list[Tensor]:
    x = e.tensor(node.inputs[0])
    if x.dtype != e.trt.float32:
        raise SpecError("a softmax must be computed in float32", where=e.where, why=f"it is in {x.dtype}")
    layer = e.network.add_softmax(x)
    layer.axes = 1 << (node.attributes["axis"].as_int() % len(x.shape))
    return [e.layer(layer)]


def _top_k(e: Emitter, node: ir.Node) -> list[Tensor]:
    x = e.tensor(node.inputs[0])
    axes = 1 << (node.attributes["axis"].as_int() % len(x.shape))
    layer = e.network.add_topk(x, e.trt.TopKOperation.MAX, e.integers(node.inputs[1])[0], axes)
    return [e.layer(layer), layer.get_output(1)]


def _one_hot(e: Emitter, node: ir.Node) -> list[Tensor]:
    indices, depth, values = (e.tensor(value) for value in node.inputs)
    return [e.layer(e.network.add_one_hot(indices, values, depth, node.attributes["axis"].as_int()))]


def _reshape(e: Emitter, node: ir.Node) -> list[Tensor]:
    """To constant sizes, or to the shape of another tensor."""
    layer = e.network.add_shuffle(e.tensor(node.inputs[0]))
    if constant_array(node.inputs[1]) is None:
        layer.set_input(1, e.tensor(node.inputs[1]))
    else:
        layer.reshape_dims = tuple(e.integers(node.inputs[1]))
    return [e.layer(layer)]


def _shape(e: Emitter, node: ir.Node) -> list[Tensor]:
    """Of all sizes, as reshapes read it; of some, to compute with, as 32-bit numbers."""
    sizes = e.layer(e.network.add_shape(e.tensor(node.inputs[0])))
    if "end" not in node.attributes:
        return [sizes]
    start, end = (node.attributes[name].as_int() for name in ("start", "end"))
    part = e.layer(e.network.add_slice(sizes, (start,), (end - start,), (1,)), "part")
    return [e.layer(e.network.add_cast(part, e.trt.int32), "int32")]


def _softplus(e: Emitter, node: ir.Node) -> list[Tensor]:
    """log(exp(x) + 1): the layer's alpha and beta are 1."""
    layer = e.network.add_activation(e.tensor(node.inputs[0]), e.trt.ActivationType.SOFTPLUS)
    layer.alpha = layer.beta = 1.0
    return [e.layer(layer)]


def _cumulative_sum(e: Emitter, node: ir.Node) -> list[Tensor]:
    axis = e.constant(np.array(e.integers(node.inputs[1])[0], np.int32), e.trt.int32, "axis")
    exclusive = node.attributes.get("exclusive")
    ahead = exclusive is not None and bool(exclusive.as_int())
    x = e.tensor(node.inputs[0])
    return [e.layer(e.network.add_cumulative(x, axis, e.trt.CumulativeOperation.SUM, ahead, False))]


def _scatter(e: Emitter, node: ir.Node) -> list[Tensor]:
    """Each index once: which of two updates of one place stays is not defined."""
    data, indices, updates = (e.tensor(value) for value in node.inputs)
    layer = e.network.add_scatter(data, indices, updates, e.trt.ScatterMode.ELEMENT)
    layer.axis = node.attributes["axis"].as_int()
    return [e.layer(layer)]


def _unsqueeze(e: Emitter, node: ir.Node) -> list[Tensor]:
    """As a reshape: sizes before the first new axis are copied, and one behind it may be dynamic."""
    x = e.tensor(node.inputs[0])
    rank = len(x.shape) + len(e.integers(node.inputs[1]))
    added = {axis % rank for axis in e.integers(node.inputs[1])}
    sizes, dims = list(x.shape), list[int]()
    for axis in range(rank):
        if axis in added:
            dims.append(1)
            continue
        size = sizes[len(dims) - sum(place < len(dims) for place in added)]
        dims.append(0 if axis < min(added) else size)
    if dims.count(-1) > 1:
        raise SpecError("two dynamic sizes stand behind a new axis", where=e.where)
    layer = e.network.add_shuffle(x)
    layer.reshape_dims = tuple(dims)
    return [e.layer(layer)]


def _squeeze(e: Emitter, node: ir.Node) -> list[Tensor]:
    """As a reshape, of one axis: sizes before it are copied, and one behind it may be dynamic."""
    x = e.tensor(node.inputs[0])
    (axis,) = (axis % len(x.shape) for axis in e.integers(node.inputs[1]))
    layer = e.network.add_shuffle(x)
    layer.reshape_dims = (*[0] * axis, *list(x.shape)[axis + 1 :])
    return [e.layer(layer)]


def _transpose(e: Emitter, node: ir.Node) -> list[Tensor]:
    layer = e.network.add_shuffle(e.tensor(node.inputs[0]))
    layer.first_transpose = tuple(node.attributes["perm"].as_ints())
    return [e.layer(layer)]


def _product(e: Emitter, node: ir.Node, right_as: Any) -> list[Tensor]:
    rank = _rank(e, node)
    left, right = (e.tensor(value, rank) for value in node.inputs)
    return [e.layer(e.network.add_matrix_multiply(left, e.trt.MatrixOperation.NONE, right, right_as))]


def _matmul(e: Emitter, node: ir.Node) -> list[Tensor]:
    return _product(e, node, e.trt.MatrixOperation.NONE)


def _transposed_matmul(e: Emitter, node: ir.Node) -> list[Tensor]:
    return _product(e, node, e.trt.MatrixOperation.TRANSPOSE)


def _rotary(e: Emitter, node: ir.Node) -> list[Tensor]:
    x, cos, sin = (e.tensor(value) for value in node.inputs)
    partial = node.attributes.get("rotary_embedding_dim")
    return [e.layer(e.network.add_rotary_embedding(x, cos, sin, False, partial.as_int() if partial is not None else 0))]


def _attention(e: Emitter, node: ir.Node) -> list[Tensor]:
    """Fused or refused: without `decomposable` a build fails where no kernel is, and does not fall back in silence.
    A mask is additive, and nothing else limits what is seen: lengths beside a cache update give wrong tokens (11.1,
    11.2). Without one every query sees every key."""
    query, key, value, *masks = (e.tensor(operand) for operand in node.inputs)
    if node.attributes["scale"].as_float() != 1:
        raise SpecError("the attention layer has no scale", where=e.where, why="Gemma 4's is 1")
    if any(mask.dtype != query.dtype for mask in masks):
        raise SpecError("the mask must be additive, in the queries' dtype", where=e.where)
    trt = e.trt
    layer = e.network.add_attention(query, key, value, trt.AttentionNormalizationOp.SOFTMAX, False)
    layer.decomposable = False
    for mask in masks:
        layer.mask = mask
        if layer.mask is None:  # the bindings say no more, and the layer would see every key
            raise Refusal("the attention layer takes no mask here", where=e.where)
    return [e.layer(layer)]


def _cache_update(e: Emitter, node: ir.Node) -> list[Tensor]:
    """In place: the output is the input's memory. The layer writes on from its index and never wraps; a ring is safe
    when its size is a multiple of the chunks it is written in, which `Capacities.check` sees to."""
    cache, new, at = (e.tensor(value) for value in node.inputs)
    if not cache.is_network_input:
        raise SpecError("a cache that is updated must be an input of the network", where=e.where)
    return [e.layer(e.network.add_kv_cache_update(cache, new, at, e.trt.KVCacheMode.LINEAR))]


def _all_reduce(e: Emitter, node: ir.Node) -> list[Tensor]:
    """A sum over all ranks; which they are is the communicator's, that a context is given when it runs."""
    trt = e.trt
    x = e.tensor(node.inputs[0])
    layer = e.network.add_dist_collective(x, trt.CollectiveOperation.ALL_REDUCE, trt.ReduceOperation.SUM, -1, [])
    layer.num_ranks = node.attributes["ranks"].as_int()
    return [e.layer(layer)]


def _dequantize(e: Emitter, node: ir.Node) -> list[Tensor]:
    """Codes times scales; how many codes share one follows from the two shapes."""
    codes, scales = (e.tensor(value) for value in node.inputs)
    return [e.layer(e.network.add_dequantize(codes, scales, e.dtype(node.outputs[0].dtype)))]


LAYERS: Mapping[str, Rule] = {
    "Add": _elementwise("SUM"),
    "And": _elementwise("AND"),
    "Attention": _attention,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": conv,
    "Cos": _unary("COS"),
    "CumSum": _cumulative_sum,
    "DequantizeLinear": _dequantize,
    "Div": _elementwise("DIV"),
    "Expand": expand,
    "Gather": gather,
    "GatherND": gather_nd,
    "Gelu": _gelu,
    "Greater": _elementwise("GREATER"),
    "LayerNormalization": layer_norm,
    "LessOrEqual": _less_or_equal,
    "MatMul": _matmul,
    "Mod": _mod,
    "Mul": _elementwise("PROD"),
    "OneHot": _one_hot,
    "Or": _elementwise("OR"),
    "Pad": pad,
    "RMSNormalization": rms_norm,
    "ReduceMax": _reduce("MAX"),
    "ReduceSum": _reduce("SUM"),
    "Relu": _activation("RELU"),
    "Reshape": _reshape,
    "RotaryEmbedding": _rotary,
    "ScatterElements": _scatter,
    "Shape": _shape,
    "Sigmoid": _activation("SIGMOID"),
    "Sin": _unary("SIN"),
    "Slice": slice_,
    "Softmax": _softmax,
    "Softplus": _softplus,
    "Split": split,
    "Squeeze": _squeeze,
    "Sub": _elementwise("SUB"),
    "Tanh": _activation("TANH"),
    "TensorScatter": _cache_update,
    "TopK": _top_k,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
    AllReduce.name(): _all_reduce,
    TransposedMatMul.name(): _transposed_matmul,
}
