"""Norms as the layers that TensorRT fuses into one kernel, in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from g4compile.errors import SpecError

if TYPE_CHECKING:
    from g4compile.targets.tensorrt.network.emitter import Emitter, Tensor


def binary(e: Emitter, left: Tensor, right: Tensor, operation: str, part: str) -> Tensor:
    """An elementwise layer of two tensors of one rank; ``part`` of the node's own name, or all of it where empty."""
    return e.layer(e.network.add_elementwise(left, right, getattr(e.trt.ElementWiseOperation, operation)), part)


def rms_norm(e: Emitter, node: ir.Node) -> list[Tensor]:
    """x / sqrt(mean(x^2) + epsilon) * scale. There is no layer for it; TensorRT fuses these into one kernel."""
    x = _wide(e, node)
    root, scale = _root(e, node, x), e.tensor(node.inputs[1], len(x.shape))
    data = e.constants.get(scale.name)
    if data is not None and bool((data == 1).all()):
        return [binary(e, x, root, "DIV", "")]
    return [binary(e, binary(e, x, root, "DIV", "normed"), scale, "PROD", "")]


def layer_norm(e: Emitter, node: ir.Node) -> list[Tensor]:
    """(x - mean(x)) / sqrt(variance + epsilon) * scale + shift, over the last axis. Some have no shift."""
    x = _wide(e, node)
    scale, *shifts = (e.tensor(value, len(x.shape)) for value in node.inputs[1:3])
    centred = binary(e, x, _mean(e, x, "centre"), "SUB", "centred")
    normed = binary(e, centred, _root(e, node, centred), "DIV", "normed")
    if not shifts:
        return [binary(e, normed, scale, "PROD", "")]
    return [binary(e, binary(e, normed, scale, "PROD", "scaled"), shifts[0], "SUM", "")]


def _wide(e: Emitter, node: ir.Node) -> Tensor:
    x = e.tensor(node.inputs[0])
    if x.dtype != e.trt.float32:
        raise SpecError("a norm must be computed in float32", where=e.where, why=f"it is in {x.dtype}")
    if node.attributes["axis"].as_int() not in (-1, len(x.shape) - 1):
        raise SpecError("a norm must be over the last axis", where=e.where)
    return x


def _root(e: Emitter, node: ir.Node, x: Tensor) -> Tensor:
    """sqrt(mean(x^2) + epsilon)"""
    rank = len(x.shape)
    mean = _mean(e, binary(e, x, x, "PROD", "square"), "mean")
    epsilon = np.full((1,) * rank, node.attributes["epsilon"].as_float(), np.float32)
    shifted = binary(e, mean, e.constant(epsilon, e.trt.float32, "epsilon"), "SUM", "shifted")
    return e.layer(e.network.add_unary(shifted, e.trt.UnaryOperation.SQRT), "root")


def _mean(e: Emitter, x: Tensor, part: str) -> Tensor:
    return e.layer(e.network.add_reduce(x, e.trt.ReduceOperation.AVG, 1 << (len(x.shape) - 1), True), part)
