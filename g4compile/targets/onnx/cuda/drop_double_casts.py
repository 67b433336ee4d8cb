"""drop-double-casts: float32 that was cast to bfloat16 and back is read as it was.

Before:                                         After:
    a = Cast <bfloat16> (n)                         y = Add (x, n)
    b = Cast <float> (a)
    y = Add (x, b)

Where a norm is followed by a sum, `lower-to-bfloat16` rounds what is between, as targets need that fuse the two. Here
each Cast is a kernel of its own, and the sum is nearer to the model without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.graph import edit
from g4compile.targets.fused.operands import NARROW, WIDE


@dataclass(frozen=True)
class DropDoubleCasts:
    name: ClassVar[str] = "drop-double-casts"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)

    def apply(self, model: ir.Model) -> None:
        for node in list(model.graph):
            narrow = _before(node.outputs[0], WIDE)
            wide = None if narrow is None else _before(narrow, NARROW)
            if wide is not None and wide.dtype == WIDE:
                edit.replace(node.outputs[0], wide)
                model.graph.remove(node, safe=True)


def _before(value: ir.Value, dtype: ir.DataType) -> ir.Value | None:
    """What ``value`` is the cast of, when it is one to ``dtype``."""
    node = value.producer()
    return node.inputs[0] if node is not None and node.op_type == "Cast" and value.dtype == dtype else None
