"""Linear: y = x W^T, no bias, the weight as the checkpoint stores it.

Shapes: x [..., I], weight [O, I] -> y [..., O]. Kept whole until legalisation, because targets differ in how
they want the weight laid out and quantised. Source: `torch.nn.Linear`.
"""

from __future__ import annotations

from g4compile.ops.registry import Array, Op, Operand


def reference(x: Array, weight: Array) -> Array:
    product: Array = x @ weight.T
    return product


_BODY = """
Linear (x, weight) => (y) {
  columns = Transpose <perm = [1, 0]> (weight)
  y = MatMul (x, columns)
}
"""

LINEAR = Op(
    name="Linear",
    doc=__doc__ or "",
    inputs=(Operand("x", "[..., I]"), Operand("weight", "[O, I]")),
    outputs=(Operand("y", "[..., O]"),),
    reference=reference,
    infer=lambda shapes, attributes: [(*shapes[0][:-1], shapes[1][0])],
    bodies={"": _BODY},
).register()
