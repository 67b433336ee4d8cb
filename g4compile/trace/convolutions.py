"""Rules of ATen ops that encoders of sounds have beside those of decoders: convolutions, padding, and activations."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
import torch

from g4compile.errors import Defect
from g4compile.ops.relative_attention import RelativeAttention
from g4compile.trace.importer import Importer, Scalar
from g4compile.trace.rules import from_end, rank, rule


@rule("aten.conv1d.default", "aten.conv2d.default")
def _convolution(  # noqa: PLR0913 - as ATen has them
    i: Importer,
    node: torch.fx.Node,
    value: ir.Value,
    weight: ir.Value,
    bias: ir.Value | None,
    strides: list[int],
    padding: list[int],
    dilations: list[int] | None = None,
    groups: int = 1,
) -> ir.Value:
    """Both have the layout of ONNX: [B, channels, sizes] by [out, channels / groups, sizes]."""
    attributes = {
        "strides": strides,
        "pads": [*padding, *padding],
        "dilations": dilations or [1] * len(strides),
        "group": groups,
    }
    operands = [value, weight] if bias is None else [value, weight, bias]
    out: ir.Value = i.op("Conv", operands, attributes)
    return out


@rule("aten.pad.default")
def _pad(
    i: Importer,
    node: torch.fx.Node,
    value: ir.Value,
    padding: list[int],
    mode: str = "constant",
    fill: Scalar | None = None,
) -> ir.Value:
    """``padding``: before and behind the last axis, then the last but one, and so on."""
    if mode != "constant" or fill:
        raise Defect(f"{node.target} with other values than zeros is not imported")
    axes = [-1 - axis for axis in range(len(padding) // 2)]
    pads = i.constant([*padding[::2], *padding[1::2]])
    out: ir.Value = i.op("Pad", [value, pads, None, i.constant(axes)])
    return out


@rule("aten.clamp.default")
def _clip(i: Importer, node: torch.fx.Node, value: ir.Value, low: Scalar, high: Scalar) -> ir.Value:
    dtype = i.dtype(node.meta["val"])
    out: ir.Value = i.op("Clip", [value, i.constant(low, dtype), i.constant(high, dtype)])
    return out


@rule("aten.silu.default")
def _silu(i: Importer, node: torch.fx.Node, value: ir.Value) -> ir.Value:
    out: ir.Value = i.op("Mul", [value, i.op("Sigmoid", [value])])
    return out


@rule("aten.glu.default")
def _glu(i: Importer, node: torch.fx.Node, value: ir.Value, axis: int = -1) -> ir.Value:
    """The first half of an axis times the sigmoid of the second."""
    half = node.meta["val"]
    attributes = {"axis": from_end(axis, rank(value)), "num_outputs": 2}
    passed, gate = i.op("Split", [value], attributes, like=(half, half), count=2)
    out: ir.Value = i.op("Mul", [passed, i.op("Sigmoid", [gate])])
    return out


@rule("aten.softplus.default")
def _softplus(i: Importer, node: torch.fx.Node, value: ir.Value, *others: Scalar) -> ir.Value:
    """torch takes x for log(1 + e^x) where x > 20, where they are one float32."""
    if others:
        raise Defect(f"{node.target} with {others} is not imported")
    out: ir.Value = i.op("Softplus", [value])
    return out


@rule("aten.permute.default")
def _permute(i: Importer, node: torch.fx.Node, value: ir.Value, order: list[int]) -> ir.Value:
    out: ir.Value = i.op("Transpose", [value], {"perm": order})
    return out


@rule("g4.relative_attention.default")
def _relative(i: Importer, node: torch.fx.Node, *operands: Any) -> ir.Value:
    query, key, value, relative, window, softcap = operands
    return i.ours(RelativeAttention, query, key, value, relative, window=window, softcap=softcap)
