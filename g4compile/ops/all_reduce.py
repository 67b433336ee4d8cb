"""AllReduce: y = the sum of x over all ``ranks`` that run the same graph, each with its share of the weights.

Shapes: x [...] -> y [...]. Reference and body are those of one rank, whose sum is x itself: what several ranks mean
is shown by running them together (`targets/tensorrt/interpreter/`). Source: NCCL, `ncclAllReduce`.
"""

from __future__ import annotations

from g4compile.ops.op import Array, Attribute, Input, Op, Output, span


def reference(x: Array, *, ranks: int) -> Array:
    return x


_BODY = """
AllReduce <ranks> (x) => (y) {
  y = Identity (x)
}
"""


class AllReduce(Op):
    x = Input("[...]")
    y = Output("[...]")
    ranks = Attribute(int)
    stages = span("quantized", "quantized")
    reference = staticmethod(reference)
    bodies = {"": _BODY}
