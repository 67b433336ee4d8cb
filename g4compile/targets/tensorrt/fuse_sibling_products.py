"""fuse-sibling-products: products of one x by codes are one op, whose result is cut.

Before:                                          After:
    q = g4.Linear (x, wq)                            y = g4.Product (x, wq, wk, wv)
    k = g4.Linear (x, wk)                            q, k, v = Split (y)
    v = g4.Linear (x, wv)

They are one launch then, behind one norm. Two or three of one format are joined; the products of a gated unit are not,
of which one kernel makes both and what follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.graph.axes import static_size
from g4compile.graph.build import Builder
from g4compile.ops.dequantize import Dequantize
from g4compile.ops.geglu import GeGLU
from g4compile.ops.linear import Linear
from g4compile.passes.base import expect
from g4compile.targets.fused.operands import NARROW, insert, leading
from g4compile.targets.fused.products import side_by_side

_SIBLINGS = (2, 3)  # matrices of a kernel
_Family = tuple[ir.Value, int]


@dataclass(frozen=True)
class FuseSiblingProducts:
    """``families``: of how many x products are joined; None accepts any number."""

    name: ClassVar[str] = "fuse-sibling-products"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)
    families: int | None = None

    def apply(self, model: ir.Model) -> None:
        families: dict[_Family, list[Linear]] = {}
        for product in Linear.all_in(model.graph):
            coded = Dequantize.producing(product.weight)
            if coded is not None and not any(GeGLU.matches(reader) for reader in product.y.consumers()):
                families.setdefault((product.x, coded.bits), []).append(product)
        joined = [family for family in families.values() if len(family) in _SIBLINGS]
        for family in joined:
            _join(family)
        expect(self.name, "families of products", len(joined), self.families, "no two others read one x")


def _join(family: list[Linear]) -> None:
    build, x = Builder(family[0].node), family[0].x
    operands, format = side_by_side(family, FuseSiblingProducts.name)
    widths = [static_size(one.y, -1) for one in family]
    (y,) = insert(build, "Product", [x, *operands], [(NARROW, [*leading(x), sum(widths)])], **format)
    parts = build.op_with_outputs(len(widths), "Split", y, build.constant(widths), axis=-1)
    for product, part in zip(family, parts, strict=True):
        product.replace_by(part)
