"""GeGLU: y = gelu_tanh(gate) * up. The activation of every MLP, expert and PLE gate.

Shapes: gate [..., I], up [..., I] (broadcast) -> y [..., I]. gelu_tanh is exact in its tanh form:
0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))). Source: transformers `Gemma4TextMLP`, `gelu_pytorch_tanh`.
"""

from __future__ import annotations

import numpy as np

from g4compile.ops.op import Array, Input, Op, Output, span


def gelu_tanh(x: Array) -> Array:
    """gelu in its tanh form, elementwise, in the dtype of ``x``."""
    inner = np.sqrt(2.0 / np.pi).astype(x.dtype) * (x + x.dtype.type(0.044715) * x**3)
    half: Array = x.dtype.type(0.5) * x * (1 + np.tanh(inner))
    return half


def reference(gate: Array, up: Array) -> Array:
    gated: Array = gelu_tanh(gate) * up
    return gated


_BODY = """
GeGLU (gate, up) => (y) {
  active = Gelu <approximate = "tanh"> (gate)
  y = Mul (active, up)
}
"""


class GeGLU(Op):
    gate = Input("[..., I]")
    up = Input("[..., I]")
    y = Output("[..., I]")
    stages = span("canonical", "quantized")
    reference = staticmethod(reference)
    bodies = {"": _BODY}
