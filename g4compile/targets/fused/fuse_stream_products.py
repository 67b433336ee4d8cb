"""fuse-stream-products: products, the norms and the residual sums in front of them, and their activations are one op.

Before:                                          After:
    n = g4.RMSNorm (p, post)                         y, v = g4.NormProduct <activation = "geglu">
    s = Mul (Add (h, n), scalar)                         (h, p, post, scalar, pre, gate, up)
    x = g4.RMSNorm (s, pre)                          (v in the place of s)
    y = g4.GeGLU (g4.Linear (x, gate), g4.Linear (x, up))

    y = g4.GeGLU (g4.Linear (s, w), Gather (per_layer, 3))    y = g4.NormProduct <activation = "gate", layer = 3>
    y = g4.Product (x, wq, wk, wv)                            y = g4.NormProduct <activation = "none">
    logits = Mul (Tanh (Div (g4.Linear (x, w), 30)), 30)      logits = g4.NormLogits <activation = "softcap", cap = 30>
    y = g4.Linear (a, w)           (a is no stream)           y = g4.Product (a, w)

The residual stream begins at g4.EmbedRows, or at rows of a table times a scale, and goes on with each sum of it and a
norm, and with some of its positions. It stays float32; the first product that reads a sum computes it, and gives it to
all later readers as its second output. What a product gives is bfloat16, logits float32. Source: transformers
`Gemma4TextDecoderLayer.forward`, `docs/design/0010-onnx-cuda.md`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import MatchError
from g4compile.graph import edit
from g4compile.graph.build import Builder
from g4compile.graph.match import Any_, Miss, Node, Number, match
from g4compile.graph.stage import describe, op_name
from g4compile.ops.rms_norm import RMSNorm
from g4compile.passes.base import expect
from g4compile.targets.fused.operands import NARROW, WIDE, insert, leading, narrow
from g4compile.targets.fused.products import Group, groups

_ROWS = Node("Mul", Node("Gather", Any_("table"), Any_("ids"), axis=0), Number("scale"))
_CUTS = {"Slice", "GatherND"}  # of positions


@dataclass(frozen=True)
class _Sum:
    """(``h`` + RMSNorm(``p``) * ``post``) * ``scalar``, of the residual stream. Without ``p`` it is ``h``."""

    h: ir.Value
    p: ir.Value | None = None
    post: ir.Value | None = None
    scalar: ir.Value | None = None
    epsilon: float | None = None


@dataclass(frozen=True)
class FuseStreamProducts:
    """``sums``: how many residual sums are part of a product, or None."""

    name: ClassVar[str] = "fuse-stream-products"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)
    sums: int | None = None

    def apply(self, model: ir.Model) -> None:
        fusion, firsts = _Fusion(), groups(model.graph, self.name)
        for node in list(model.graph):
            if node in firsts:
                fusion.fuse(firsts[node], node)
            else:
                fusion.follow(node)
        expect(self.name, "residual sums", fusion.sums, self.sums, "no other sum of the stream is read by a product")


@dataclass
class _Fusion:
    """``stream``: values of the residual stream so far. ``sums``: how many of them a product computes."""

    stream: dict[ir.Value | None, _Sum] = field(default_factory=dict)
    sums: int = 0

    def follow(self, node: ir.Node) -> None:
        """Note what ``node`` makes of the stream."""
        cut = op_name(node) in _CUTS and node.inputs[0] in self.stream
        if op_name(node) == "g4.EmbedRows" or cut or not isinstance(match(_ROWS, node.outputs[0]), Miss):
            self.stream[node.outputs[0]] = _Sum(node.outputs[0])
            return
        for residual, other in _orders(node):
            known, made = self.stream.get(residual), None
            if known is not None and residual is not None and other is not None:
                made = _added(residual, other) if op_name(node) == "Add" else _scaled(known, residual, other)
            if made is not None:
                self.stream[node.outputs[0]] = made

    def fuse(self, group: Group, first: ir.Node) -> None:
        """Put one op in the place of ``group``, whose ``first`` node this is."""
        x = first.inputs[0]  # another value than when the groups were found, where a unit of them computes it
        if x is None:
            return
        normed = RMSNorm.producing(x)
        build = Builder(first if normed is None else normed.node)  # in front of all that reads the sum
        value = normed.x if normed is not None else x
        known, y = self.stream.get(value), (NARROW, [*leading(x), group.width])
        if known is None:
            if op_name(first) != "g4.Product" and group.is_plain:
                (product,) = insert(build, "Product", [x, *group.weights], [y], **group.format)
                edit.replace(group.out, product)
            return
        epsilons = {known.epsilon, normed.epsilon if normed is not None else None} - {None}
        if (normed is not None and normed.scale is None) or len(epsilons) > 1:
            raise MatchError(
                f"{describe(first)} reads a norm that has no weight, or another epsilon than the norm before it",
                where=FuseStreamProducts.name,
            )
        total = [(WIDE, known.h.shape)] if known.p is not None else []
        norms = known.post, known.scalar, normed.scale if normed is not None else None
        post, scalar, pre = (None if one is None else narrow(one, FuseStreamProducts.name) for one in norms)
        made = insert(
            build,
            "NormLogits" if group.is_logits else "NormProduct",
            [known.h, known.p, post, scalar, pre, *group.weights, group.gate],
            [(WIDE, y[1]) if group.is_logits else y, *total],
            epsilon=next(iter(epsilons), 0.0),
            **group.attributes,
        )
        edit.replace(group.out, made[0])
        if known.p is not None:
            edit.replace(value, made[1])
            self.stream[made[1]] = _Sum(made[1])
            self.sums += 1


def _orders(node: ir.Node) -> list[tuple[ir.Value | None, ir.Value | None]]:
    """The operands of a sum or a product, either one first."""
    if op_name(node) not in ("Add", "Mul"):
        return []
    first, second = node.inputs
    return [(first, second), (second, first)]


def _added(residual: ir.Value, other: ir.Value) -> _Sum | None:
    """The stream behind ``residual`` + ``other``, where that is a norm with a weight that nothing else reads."""
    norm = RMSNorm.producing(other)
    if norm is None or norm.scale is None or len(other.uses()) > 1:
        return None
    return _Sum(residual, norm.x, norm.scale, None, norm.epsilon)


def _scaled(known: _Sum, residual: ir.Value, factor: ir.Value) -> _Sum | None:
    """The stream behind ``residual`` * ``factor``, where that is one weight and nothing else reads the sum."""
    if known.p is None or known.scalar is not None or len(residual.uses()) > 1 or factor.shape != ir.Shape([1]):
        return None
    return replace(known, scalar=factor)
