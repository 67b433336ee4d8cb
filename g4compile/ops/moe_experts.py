"""MoEExperts: the chosen experts of each token, weighted and summed.

    out[t] = sum_k weight[t, k] * down[e] (gelu_tanh(g) * u),   [g; u] = gate_up[e] x[t],   e = index[t, k]

Shapes: x [..., H], index [..., k] int64, weight [..., k] float32, gate_up [E, 2I, H] (gate rows first),
down [E, H, I] -> out [..., H]. The body gathers the weights of each token: right for any size, fast for none;
`lower-moe-to-gather-scatter` is the form to run. Source: transformers `Gemma4TextExperts.forward`.
"""

from __future__ import annotations

import numpy as np

from g4compile.ops.geglu import gelu_tanh
from g4compile.ops.op import Array, Input, Op, Output, span


def reference(x: Array, index: Array, weight: Array, gate_up: Array, down: Array) -> Array:
    rows, choices, shares = (
        x.reshape(-1, x.shape[-1]),
        index.reshape(-1, index.shape[-1]),
        weight.reshape(-1, weight.shape[-1]),
    )
    out = np.zeros_like(rows)
    for expert in np.unique(choices):
        token, choice = np.nonzero(choices == expert)
        gate, up = np.split(rows[token] @ gate_up[expert].T, 2, axis=-1)
        product = (gelu_tanh(gate) * up) @ down[expert].T
        np.add.at(out, token, product * shares[token, choice][:, None])
    return out.reshape(x.shape)


_BODY = """
MoEExperts (x, index, weight, gate_up, down) => (out) {
  column = Constant <value_ints = [-1]> ()
  choice = Constant <value_ints = [-2]> ()
  chosen_gate_up = Gather <axis = 0> (gate_up, index)
  chosen_down = Gather <axis = 0> (down, index)
  per_choice = Unsqueeze (x, choice)
  x_column = Unsqueeze (per_choice, column)
  both_column = MatMul (chosen_gate_up, x_column)
  both = Squeeze (both_column, column)
  gate, up = Split <axis = -1, num_outputs = 2> (both)
  active = Gelu <approximate = "tanh"> (gate)
  hidden = Mul (active, up)
  hidden_column = Unsqueeze (hidden, column)
  product_column = MatMul (chosen_down, hidden_column)
  product = Squeeze (product_column, column)
  share = Unsqueeze (weight, column)
  wide = Cast <to = 1> (product)
  weighted = Mul (wide, share)
  sum = ReduceSum <keepdims = 0> (weighted, choice)
  out = CastLike (sum, x)
}
"""


class MoEExperts(Op):
    x = Input("[..., H]")
    index = Input("[..., k]", "I")
    weight = Input("[..., k]", "M")
    gate_up = Input("[E, 2I, H]", weight=True)
    down = Input("[E, H, I]", weight=True)
    out = Output("[..., H]")
    stages = span("traced", "quantized")
    reference = staticmethod(reference)
    bodies = {"": _BODY}
