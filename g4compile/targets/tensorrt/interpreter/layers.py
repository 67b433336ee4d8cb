"""The meaning of each TensorRT layer, in torch, by the name of its `LayerType`. A rule takes (trt, layer, inputs).

Arithmetic is in float32 whatever is declared; `Interpreter.fit` rounds the result. Source: NVIDIA, TensorRT operators'
reference, and what engines were seen to accept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from g4compile.errors import Defect
from g4compile.targets.tensorrt.interpreter.kernels import KERNELS

Rule = Callable[[Any, Any, list[Any]], Any]


def _wide(x: Any) -> Any:
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def _axes(layer: Any, x: Any) -> list[int]:
    return [axis for axis in range(x.dim()) if layer.axes >> axis & 1]


def _elementwise(trt: Any, layer: Any, inputs: list[Any]) -> Any:
    operations: dict[str, Callable[[Any, Any], Any]] = {
        "SUM": torch.add,
        "SUB": torch.sub,
        "PROD": torch.mul,
        "DIV": lambda a, b: torch.div(a, b, rounding_mode=None if a.dtype.is_floating_point else "trunc"),
        "FLOOR_DIV": lambda a, b: torch.div(a, b, rounding_mode="floor"),
        "GREATER": torch.gt,
        "LESS": torch.lt,
        "EQUAL": torch.eq,
        "AND": torch.logical_and,
        "OR": torch.logical_or,
        "MAX": torch.maximum,
        "MIN": torch.minimum,
    }
    left, right = inputs
    if left.dim() != right.dim():
        raise Defect(f"{layer.name} joins ranks {left.dim()} and {right.dim()}")
    return operations[layer.op.name](_wide(left), _wide(right))


def _shuffle(trt: Any, layer: Any, inputs: list[Any]) -> Any:
    x = inputs[0]
    order = list(layer.first_transpose)[: x.dim()]
    x = x.permute(order)
    if len(inputs) == 2:
        return x.reshape(inputs[1].tolist())
    if layer.reshape_dims is None:
        return x
    dims = list(layer.reshape_dims)
    if not dims and x.dim():  # what the bindings say when nothing was set
        return x
    return x.reshape([x.shape[axis] if size == 0 else size for axis, size in enumerate(dims)])


def _matrix_multiply(trt: Any, layer: Any, inputs: list[Any]) -> Any:
    left, right = (_wide(x) for x in inputs)
    if layer.op0 == trt.MatrixOperation.TRANSPOSE:
        left = left.mT
    if layer.op1 == trt.MatrixOperation.TRANSPOSE:
        right = right.mT
    return left @ right


def _reduce(trt: Any, layer: Any, inputs: list[Any]) -> Any:
    x = _wide(inputs[0])
    reducer = {"SUM": x.sum, "AVG": x.mean, "MAX": x.amax}[layer.op.name]
    return reducer(dim=_axes(layer, x), keepdim=layer.keep_dims)


def _unary(trt: Any, layer: Any, inputs: list[Any]) -> Any:
    operations = {
        "SQRT": torch.sqrt,
        "COS": torch.cos,
        "SIN": torch.sin,
        "NOT": torch.logical_not,
        "NEG": torch.neg,
        "ABS": torch.abs,
    }
    return operations[layer.op.name](_wide(inputs[0]))


def _activation(trt: Any, layer: Any, inputs: list[Any]) -> Any:
    operations: dict[str, Callable[[Any], Any]] = {
        "GELU_TANH": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
        "RELU": torch.relu,
        "SIGMOID": torch.sigmoid,
        "SOFTPLUS": lambda x: layer.alpha * torch.log(torch.exp(layer.beta * x) + 1),
        "TANH": torch.tanh,
    }
    return operations[layer.type.name](_wide(inputs[0]))


def _rotary_embedding(trt: Any, layer: Any, inputs: list[Any]) -> Any:
    x, cos, sin = (_wide(value) for value in inputs)
    rotary = layer.rotary_embedding_dim or x.shape[-1]
    if layer.interleaved or 2 * cos.shape[-1] != rotary:
        raise Defect(f"{layer.name} turns {rotary} numbers by {cos.shape[-1]} angles")
    low, high, rest = x.split([rotary // 2, rotary // 2, x.shape[-1] - rotary], dim=-1)
    cos, sin = cos[:, None], sin[:, None]
    return torch.cat([low * cos - high * sin, high * cos + low * sin, rest], -1)


def _cache_update(trt: Any, layer: Any, inputs: list[Any]) -> Any:
    cache, new, at = inputs
    out = cache.clone()
    for sequence, start in enumerate(at.tolist()):
        if start + new.shape[2] > cache.shape[2]:
            raise Defect(f"{layer.name} writes {new.shape[2]} tokens at {start} of {cache.shape[2]}: it does not wrap")
        out[sequence, :, start : start + new.shape[2]] = new[sequence].to(cache.dtype)
    return out


def _softmax(trt: Any, layer: Any, inputs: list[Any]) -> Any:
    (axis,) = _axes(layer, inputs[0])
    return torch.softmax(_wide(inputs[0]), axis)


def _top_k(trt: Any, layer: Any, inputs: list[Any]) -> Any:
    (axis,) = _axes(layer, inputs[0])
    values, indices = torch.topk(_wide(inputs[0]), layer.k, dim=axis, largest=layer.op == trt.TopKOperation.MAX)
    return values, indices


def _gather(trt: Any, layer: Any, inputs: list[Any]) -> Any:
    x, index = inputs
    axis = layer.axis
    if layer.mode not in (trt.GatherMode.DEFAULT, trt.GatherMode.ND) or bool((index < 0).any()):
        raise Defect(f"{layer.name} looks up in a way that is not known here")
    if layer.mode == trt.GatherMode.ND:
        places = index.long().unbind(-1)
        if layer.num_elementwise_dims == 1:  # the first axis of both goes together
            rows = torch.arange(x.shape[0]).reshape([-1, *[1] * (places[0].dim() - 1)])
            places = (rows, *places)
        return x[tuple(places)]
    rows = x.index_select(axis, index.reshape(-1).long())
    return rows.reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


def _slice(trt: Any, layer: Any, inputs: list[Any]) -> Any:
    """Start, size and step are attributes, or inputs 1, 2 and 3 when they are computed. In the mode FILL there are
    zeros beyond the operand."""
    x, *given = inputs
    operands = iter(given)
    computed = [place < layer.num_inputs and layer.get_input(place) is not None for place in (1, 2, 3)]
    attributes = (layer.start, layer.shape, layer.stride)
    starts, lengths, strides = (
        next(operands).tolist() if is_input else list(attribute)
        for is_input, attribute in zip(computed, attributes, strict=True)
    )
    for axis, (start, count, step) in enumerate(zip(starts, lengths, strides, strict=True)):
        places = start + step * torch.arange(count)  # a step of 0 takes one place again and again
        if layer.mode != trt.SampleMode.FILL:
            x = x.index_select(axis, places)
            continue
        inside = (places >= 0) & (places < x.shape[axis])
        shape = [-1 if place == axis else 1 for place in range(x.dim())]
        x = x.index_select(axis, places.clamp(0, x.shape[axis] - 1)) * inside.reshape(shape)
    return x


def _convolution(trt: Any, layer: Any, inputs: list[Any]) -> Any:
    """Zeros stand around the operand, as many in front as behind or not."""
    x, kernel = (_wide(value) for value in inputs)
    before, behind = list(layer.pre_padding), list(layer.post_padding)
    around = [size for pair in zip(reversed(before), reversed(behind), strict=True) for size in pair]
    padded = torch.nn.functional.pad(x, around)
    return torch.nn.functional.conv2d(padded, kernel, stride=tuple(layer.stride_nd), groups=layer.num_groups)


def _one_hot(trt: Any, layer: Any, inputs: list[Any]) -> Any:
    indices, values, depth = inputs
    hot = torch.nn.functional.one_hot(indices.long(), int(depth)).bool()
    return torch.where(hot, values[1], values[0]).movedim(-1, layer.axis)


def _dequantize(trt: Any, layer: Any, inputs: list[Any]) -> Any:
    codes, scales = (x.float() for x in inputs)
    if scales.dim() == 0:
        return codes * scales
    block = codes.shape[-1] // scales.shape[-1]
    return codes * scales.repeat_interleave(block, -1)


def _attention(trt: Any, layer: Any, inputs: list[Any]) -> Any:
    """An additive mask, or none; query heads in groups of a KV head."""
    query, key, value, *masks = (_wide(x) for x in inputs)
    group = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(group, 1) for x in (key, value))
    return torch.softmax(sum(masks, query @ key.mT), -1) @ value


def _concatenation(trt: Any, layer: Any, inputs: list[Any]) -> Any:
    return torch.cat(inputs, layer.axis)


def _cumulative(trt: Any, layer: Any, inputs: list[Any]) -> Any:
    x, axis = inputs
    if layer.reverse or layer.op != trt.CumulativeOperation.SUM:
        raise Defect(f"{layer.name} runs along a tensor in a way that is not known here")
    total = x.cumsum(int(axis)).to(x.dtype)
    return total - x if layer.exclusive else total


def _scatter(trt: Any, layer: Any, inputs: list[Any]) -> Any:
    data, indices, updates = inputs
    if layer.mode != trt.ScatterMode.ELEMENT or len(indices.unique()) != indices.numel():
        raise Defect(f"{layer.name} writes a place twice, or in a way that is not known here")
    return data.scatter(layer.axis, indices.long(), updates)


def _plugin(trt: Any, layer: Any, inputs: list[Any]) -> Any:
    """By what its kernel computes. Outputs are as they were written, and 0 where nothing was."""
    launch = layer.call.launch
    arrays = [_wide(x).numpy() for x in inputs]
    shapes = [array.shape for array in arrays]
    integers = iter(launch.integers(shapes))
    given = {
        name: next(integers) if kind == "i32" else arrays[int(word[1:])] if word.startswith("i") else None
        for (name, kind), word in zip(launch.kernel.types, launch.arguments, strict=True)
    }
    made = KERNELS[launch.kernel.function](given, dict(launch.kernel.constants))
    places = {word: name for (name, _), word in zip(launch.kernel.types, launch.arguments, strict=True)}
    results = [made[places[f"o{number}"]] for number in range(len(launch.outputs))]
    return tuple(
        torch.from_numpy(np.ascontiguousarray(result)).reshape(shape)
        for result, shape in zip(results, launch.shapes(shapes), strict=True)
    )


LAYERS: Mapping[str, Rule] = {
    "ACTIVATION": _activation,
    "ATTENTION_INPUT": _attention,
    "ATTENTION_OUTPUT": lambda trt, layer, inputs: inputs[0],
    "CAST": lambda trt, layer, inputs: inputs[0],
    "CONCATENATION": _concatenation,
    "CONVOLUTION": _convolution,
    "CUMULATIVE": _cumulative,
    "DEQUANTIZE": _dequantize,
    "ELEMENTWISE": _elementwise,
    "GATHER": _gather,
    "KV_CACHE_UPDATE": _cache_update,
    "MATRIX_MULTIPLY": _matrix_multiply,
    "ONE_HOT": _one_hot,
    "PLUGIN_V3": _plugin,
    "REDUCE": _reduce,
    "ROTARY_EMBEDDING": _rotary_embedding,
    "SCATTER": _scatter,
    "SELECT": lambda trt, layer, inputs: torch.where(inputs[0], _wide(inputs[1]), _wide(inputs[2])),
    "SHAPE": lambda trt, layer, inputs: torch.tensor(inputs[0].shape, dtype=torch.int64),
    "SHUFFLE": _shuffle,
    "SLICE": _slice,
    "SOFTMAX": _softmax,
    "TOPK": _top_k,
    "UNARY": _unary,
}
