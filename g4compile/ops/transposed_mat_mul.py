"""TransposedMatMul: y = x W^T over the last two axes, leading sizes broadcast. As `Linear`, for stacked or computed
weights.

Shapes: x [..., M, K], weight [..., N, K] -> y [..., M, N]. One op, so that a target reads the weight as it is stored.
"""

from __future__ import annotations

from g4compile.ops.op import Array, Input, Op, Output


def reference(x: Array, weight: Array) -> Array:
    product: Array = x @ weight.swapaxes(-1, -2)
    return product


# Sums of products broadcast leading sizes and need no rank; a Transpose would need one.
_BODY = """
TransposedMatMul (x, weight) => (y) {
  column = Constant <value_ints = [-2]> ()
  row = Constant <value_ints = [-3]> ()
  last = Constant <value_ints = [-1]> ()
  x_rows = Unsqueeze (x, column)
  weight_rows = Unsqueeze (weight, row)
  terms = Mul (x_rows, weight_rows)
  y = ReduceSum <keepdims = 0> (terms, last)
}
"""


class TransposedMatMul(Op):
    x = Input("[..., M, K]")
    weight = Input("[..., N, K]")
    y = Output("[..., M, N]")
    reference = staticmethod(reference)
    bodies = {"": _BODY}
