"""Facts about the standard ONNX ops that our graphs hold, each op on one line: where it may stand, and what kind of
op it is."""

from __future__ import annotations

from dataclasses import dataclass

from g4compile.graph.stage import span
from g4compile.ops.fields import Precision


@dataclass(frozen=True)
class StandardOp:
    """``stages`` in whose graphs it may stand. ``elementwise``: each element of the result reads one of each
    operand. ``arithmetic``: it rounds, so a constant that does not fit the operands' dtype matters. ``tables``:
    operands that may be quantised weights. ``product``: it multiplies by weights, in the dtype of activations."""

    stages: tuple[str, ...]
    elementwise: bool = False
    arithmetic: bool = False
    precision: Precision = Precision.NARROW
    tables: tuple[int, ...] = ()
    product: bool = False


_ALL, _TRACED = span("traced", "quantized"), span("traced", "traced")
_WIDE = Precision.WIDE

STANDARD: dict[str, StandardOp] = {
    "Add": StandardOp(_ALL, elementwise=True, arithmetic=True, precision=_WIDE),
    "Cast": StandardOp(_ALL, elementwise=True),
    "Clip": StandardOp(_ALL, elementwise=True, arithmetic=True),
    "Concat": StandardOp(_ALL),
    "Conv": StandardOp(_ALL, product=True),
    "Cos": StandardOp(_ALL, elementwise=True, precision=_WIDE),
    "DequantizeLinear": StandardOp(span("quantized", "quantized")),
    "Div": StandardOp(_ALL, elementwise=True, arithmetic=True),
    "Equal": StandardOp(_ALL, elementwise=True),
    "Expand": StandardOp(_ALL),
    "Gather": StandardOp(_ALL, tables=(0,)),
    "GatherND": StandardOp(_ALL),
    "Gelu": StandardOp(_TRACED),
    "Identity": StandardOp(_TRACED),
    "LayerNormalization": StandardOp(_ALL, precision=_WIDE),
    "Mod": StandardOp(span("scheduled", "quantized")),
    "Mul": StandardOp(_ALL, elementwise=True, arithmetic=True),
    "Neg": StandardOp(span("traced", "canonical")),
    "Or": StandardOp(_ALL, elementwise=True),
    "Pad": StandardOp(_ALL),
    "Pow": StandardOp(_TRACED),
    "ReduceMean": StandardOp(_TRACED),
    "ReduceSum": StandardOp(_ALL),
    "Relu": StandardOp(_ALL, elementwise=True),
    "Reshape": StandardOp(_ALL),
    "Shape": StandardOp(_ALL),
    "Sigmoid": StandardOp(_ALL, elementwise=True, arithmetic=True),
    "Sin": StandardOp(_ALL, elementwise=True, precision=_WIDE),
    "Slice": StandardOp(_ALL),
    "Softmax": StandardOp(_ALL, precision=_WIDE),
    "Softplus": StandardOp(_ALL, elementwise=True, arithmetic=True),
    "Split": StandardOp(_ALL),
    "Squeeze": StandardOp(_ALL),
    "Sub": StandardOp(_ALL, elementwise=True, arithmetic=True),
    "Tanh": StandardOp(_ALL, elementwise=True, arithmetic=True),
    "TensorScatter": StandardOp(span("scheduled", "quantized")),
    "TopK": StandardOp(_ALL, precision=_WIDE),
    "Transpose": StandardOp(_ALL),
    "Unsqueeze": StandardOp(_ALL),
    "Where": StandardOp(_ALL, elementwise=True),
}
