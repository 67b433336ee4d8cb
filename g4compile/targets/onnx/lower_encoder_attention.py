"""lower-encoder-attention: attention of an encoder, and the heads that it reads, are ops of libg4ops.

Before:                                                  After:
    h = Reshape (q, [1, 0, N, D])                            r = g4.NormHeads <heads = N> (q, weight, cos, sin)
    n = g4.RMSNorm (h, weight)                               ..
    t = g4.AxialRope (n, cos, sin)                           y = g4.EncoderAttention (r, k, v)
    r = Transpose <perm = [0, 2, 1, 3]> (t)
    ..
    o = g4.BidirectionalAttention (r, k, v)
    y = Reshape (o, [1, 0, N*D])

Heads of values are not rotated, and their norm has no weight, which is one of ones. No scores stand in memory but those
of a block: an image of 10,080 patches has 5 GB of them. What gives q is not looked at: products of codes, or others.
Source: `native/README.md`; transformers `Gemma4VisionAttention.forward`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import MatchError
from g4compile.graph.axes import sizes_of
from g4compile.graph.build import Builder
from g4compile.graph.edit import constant_array, replace
from g4compile.graph.stage import describe, op_name
from g4compile.ops.axial_rope import AxialRope
from g4compile.ops.bidirectional_attention import BidirectionalAttention
from g4compile.ops.rms_norm import RMSNorm
from g4compile.ops.schema import DOMAIN
from g4compile.passes.base import expect
from g4compile.targets.onnx.normed_heads import normed_heads


@dataclass(frozen=True)
class LowerEncoderAttention:
    """``layers``: how many attentions there are, or None."""

    name: ClassVar[str] = "lower-encoder-attention"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)
    layers: int | None = None

    def apply(self, model: ir.Model) -> None:
        sites = BidirectionalAttention.all_in(model.graph)
        for site in sites:
            build = Builder(site.node)
            (query, heads, width), *others = (
                _heads(value, site, build) for value in (site.query, site.key, site.value)
            )
            node = ir.node(
                "EncoderAttention", [query, *(one for one, *_ in others)], {"scale": site.scale}, domain=DOMAIN
            )
            node.outputs[0].type = query.type
            node.outputs[0].shape = ir.Shape([*sizes_of(query)[:1], sizes_of(query)[2], heads * width])
            (merged,) = build.insert(node)
            _merge(site, merged, (heads, width), build)
        expect(self.name, "attentions", len(sites), self.layers, f"no {BidirectionalAttention.name()} is left")


def _heads(value: ir.Value, site: BidirectionalAttention, build: Builder) -> tuple[ir.Value, int, int]:
    """Heads [B, N, S, D] as ``value`` has them, made in one op from [B, S, N*D]; N and D."""
    turned = value.producer()
    inner = turned.inputs[0] if turned is not None and _turns(turned) else None
    rope = AxialRope.producing(inner)
    norm = RMSNorm.producing(inner if rope is None else rope.x)
    split = norm.x.producer() if norm is not None else None
    x, sizes = _reshaped(split) if split is not None else (None, [])
    if norm is None or x is None or len(sizes) != 4 or sizes_of(x)[2:] != [sizes[2] * sizes[3]]:
        raise MatchError(
            f"{value.name} is not the norm of heads, rotated or not, turned to [B, N, S, D]", where=describe(site.node)
        )
    angles = () if rope is None else (rope.cos, rope.sin)
    return normed_heads(x, norm.scale, angles, sizes[2], norm.epsilon, build), sizes[2], sizes[3]


def _turns(node: ir.Node) -> bool:
    return op_name(node) == "Transpose" and list(node.attributes["perm"].as_ints()) == [0, 2, 1, 3]


def _reshaped(node: ir.Node) -> tuple[ir.Value | None, list[int]]:
    """What ``node`` gives other sizes, and these; empty where it does not, or where they are computed."""
    sizes = constant_array(node.inputs[1]) if op_name(node) == "Reshape" else None
    return (None, []) if sizes is None else (node.inputs[0], sizes.tolist())


def _merge(site: BidirectionalAttention, merged: ir.Value, heads: tuple[int, int], build: Builder) -> None:
    """Let the readers of ``site`` read ``merged`` [B, S, N*D], which most of them made by a Reshape."""
    count, width = heads
    for reader in site.out.consumers():
        _, sizes = _reshaped(reader)
        if len(sizes) == 3 and sizes[2] == count * width:
            replace(reader.outputs[0], merged)
    apart = build.op("Reshape", merged, build.constant([0, 0, count, width]))
    site.replace_by(apart)
