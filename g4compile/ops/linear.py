"""Linear: y = x W^T, no bias, the weight as the checkpoint stores it.

Shapes: x [..., I], weight [O, I] -> y [..., O]. Kept whole until legalisation, because targets differ in how
they want the weight laid out and quantised. Source: `torch.nn.Linear`.
"""

from __future__ import annotations

from g4compile.ops.op import Array, Input, Op, Output, span


def reference(x: Array, weight: Array) -> Array:
    product: Array = x @ weight.T
    return product


_BODY = """
Linear (x, weight) => (y) {
  columns = Transpose <perm = [1, 0]> (weight)
  y = MatMul (x, columns)
}
"""


class Linear(Op):
    x = Input("[..., I]")
    weight = Input("[O, I]", weight=True)
    y = Output("[..., O]")
    stages = span("traced", "quantized")
    reference = staticmethod(reference)
    bodies = {"": _BODY}
