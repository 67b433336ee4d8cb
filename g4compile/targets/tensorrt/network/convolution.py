"""Convolutions, of one or two sizes, by a kernel that is an input of the network as other weights are.

Layers have two sizes at least, so those of one get a second, of 1. Source: NVIDIA, onnx-tensorrt `convMultiInput`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx_ir as ir

from g4compile.errors import SpecError

if TYPE_CHECKING:
    from g4compile.targets.tensorrt.network.emitter import Emitter, Tensor


def conv(e: Emitter, node: ir.Node) -> list[Tensor]:
    """Of x [B, C, ...] by a kernel [O, C / group, ...], without a bias."""
    if len(node.inputs) > 2:
        raise SpecError("a convolution with a bias is not emitted", where=e.where)
    x, kernel = (e.tensor(value) for value in node.inputs)
    attributes, one = node.attributes, len(kernel.shape) == 3
    if any(size != 1 for size in attributes["dilations"].as_ints()):
        raise SpecError("a convolution with dilations is not emitted", where=e.where)
    pads, strides = list(attributes["pads"].as_ints()), list(attributes["strides"].as_ints())
    before, behind = pads[: len(strides)], pads[len(strides) :]
    if one:
        x, kernel = (_reshaped(e, tensor, (*last, 1)) for tensor, last in ((x, (0, 0, -1)), (kernel, (0, 0, 0))))
        before, behind, strides = [*before, 0], [*behind, 0], [*strides, 1]
    none, sizes = e.trt.Weights(kernel.dtype), tuple(kernel.shape)
    layer = e.network.add_convolution_nd(x, sizes[0], sizes[2:], none, none)
    layer.set_input(1, kernel)
    layer.stride_nd, layer.num_groups = tuple(strides), attributes["group"].as_int()
    layer.pre_padding, layer.post_padding = tuple(before), tuple(behind)
    found = e.layer(layer)
    return [_reshaped(e, found, (0, 0, -1)) if one else found]


def _reshaped(e: Emitter, x: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """``x`` with a size of 1 more behind the others, or less."""
    shuffle = e.network.add_shuffle(x)
    shuffle.reshape_dims = sizes
    return e.layer(shuffle, f"{len(sizes)}d")
