"""canonicalize-rms-norm: the six or seven nodes of a norm become one.

Before:                                        After:
    v0 = Pow (x, 2)                                y = g4.RMSNorm <epsilon = 1e-6> (x, scale)
    v1 = ReduceMean <keepdims = 1> (v0, [-1])
    v2 = Add (v1, 1e-6)
    v3 = Pow (v2, -0.5)
    v4 = Mul (x, v3)
    y  = Mul (v4, scale)

Below float32 the casts around the norm go in too: `g4.RMSNorm` computes in float32 and casts back after the
scale. A norm without a scale becomes `g4.RMSNorm:no_scale`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.graph import edit
from g4compile.graph.build import Builder
from g4compile.graph.match import Any_, Bindings, Ints, Miss, Node, Number, Skip, match
from g4compile.ops.rms_norm import RMSNorm
from g4compile.passes.base import expect

_SQUARE = Node("Pow", Any_("x"), Number(value=2))
_MEAN = Node("ReduceMean", _SQUARE, Ints(value=(-1,)), keepdims=1)
_NORM = Node("Mul", Any_("x"), Node("Pow", Node("Add", _MEAN, Number("epsilon")), Number(value=-0.5)))
_SCALED = Node("Mul", _NORM, Skip("Cast", Any_("scale")))


@dataclass(frozen=True)
class CanonicalizeRMSNorm:
    """``norms``: how many the model has; None accepts any number."""

    name: ClassVar[str] = "canonicalize-rms-norm"
    stages: ClassVar[tuple[str, ...]] = ("traced",)
    norms: int | None = None

    def apply(self, model: ir.Model) -> None:
        found, nearest = 0, "no reciprocal root of a mean is left"
        for node in list(model.graph):
            if node.op_type != "Pow":
                continue
            consumers = node.outputs[0].consumers()
            if not consumers or consumers[0].op_type != "Mul":
                continue
            result = match(_NORM, consumers[0].outputs[0])
            if isinstance(result, Miss):
                nearest = result.reason
                continue
            self._rewrite(consumers[0], result)
            found += 1
        expect(self.name, "norms", found, self.norms, nearest)

    def _rewrite(self, last: ir.Node, bindings: Bindings) -> None:
        """Replace what ``last`` computes, and a scale and casts behind it."""
        anchor, operands = last, [bindings["x"]]
        readers = last.outputs[0].consumers()
        scaled = match(_SCALED, readers[0].outputs[0]) if len(readers) == 1 and readers[0].op_type == "Mul" else None
        if isinstance(scaled, dict) and scaled["scale"].is_initializer():
            anchor = readers[0]
            operands.append(scaled["scale"])
        source = bindings["x"].producer()
        back = anchor.outputs[0].consumers()
        if source is not None and source.op_type == "Cast" and len(back) == 1 and back[0].op_type == "Cast":
            operands[0], anchor = source.inputs[0], back[0]
        edit.replace(anchor.outputs[0], RMSNorm.insert(Builder(anchor), *operands, epsilon=bindings["epsilon"]))
