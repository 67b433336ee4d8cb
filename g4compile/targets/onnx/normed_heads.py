"""Heads as libg4ops norms and rotates them: split, norm, rotation and turn in one op.

    g4.NormHeads <heads> (x [B, S, N*D], weight [D], cos, sin [B, S, R/2]) -> [B, N, S, D]

Source: `native/README.md`; transformers `Gemma4TextAttention.forward`.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from g4compile.graph.axes import static_size
from g4compile.graph.build import Builder
from g4compile.ops.dual_rope_attention import DualRopeAttention
from g4compile.ops.rope_key_value import RopeKeyValue
from g4compile.ops.schema import DOMAIN


def normed_queries(op: DualRopeAttention, build: Builder) -> ir.Value:
    """Queries [B, N, S, D] as attention reads them."""
    return _heads(op.query, op.query_norm, (op.cos, op.sin), op.heads, op.epsilon, build)


def normed_key_value(op: RopeKeyValue, build: Builder) -> list[ir.Value]:
    """Keys and values [B, K, S, D]; those of values have no weight, which is one of ones."""
    width = static_size(op.value_in, -1) // op.kv_heads
    ones = build.constant(np.ones(width, np.float32), ir.DataType.FLOAT)
    key = _heads(op.key_in, op.key_norm, (op.cos, op.sin), op.kv_heads, op.epsilon, build)
    return [key, _heads(op.value_in, ones, (), op.kv_heads, op.epsilon, build)]


def _heads(
    x: ir.Value, weight: ir.Value, angles: tuple[ir.Value, ...], heads: int, epsilon: float, build: Builder
) -> ir.Value:
    node = ir.node("NormHeads", [x, weight, *angles], {"heads": heads, "epsilon": epsilon}, domain=DOMAIN)
    batch, new = (x.shape[0], x.shape[1]) if x.shape is not None else (None, None)
    node.outputs[0].type = x.type
    node.outputs[0].shape = ir.Shape([batch, heads, new, static_size(x, -1) // heads])
    return build.insert(node)[0]
