"""Heads as libg4ops norms and rotates them: split, norm, rotation and turn in one op.

    g4.NormHeads <heads> (x [B, S, N*D], weight [D], cos, sin [B, S, R/2]) -> [B, N, S, D]

In an encoder cos and sin are [B, S, 2, D/4]: the halves of a head are rotated by angles of their own.
Source: `native/README.md`; transformers `Gemma4TextAttention.forward`, `Gemma4VisionAttention.forward`.
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
    return normed_heads(op.query, op.query_norm, (op.cos, op.sin), op.heads, op.epsilon, build)


def normed_key_value(op: RopeKeyValue, build: Builder) -> list[ir.Value]:
    """Keys and values [B, K, S, D]."""
    key = normed_heads(op.key_in, op.key_norm, (op.cos, op.sin), op.kv_heads, op.epsilon, build)
    return [key, normed_heads(op.value_in, None, (), op.kv_heads, op.epsilon, build)]


def normed_heads(
    x: ir.Value, weight: ir.Value | None, angles: tuple[ir.Value, ...], heads: int, epsilon: float, build: Builder
) -> ir.Value:
    """``x`` [B, S, N*D] as [B, N, S, D]. A norm without a weight has one of ones; without ``angles`` nothing is
    rotated."""
    if weight is None:
        weight = build.constant(np.ones(static_size(x, -1) // heads, np.float32), ir.DataType.FLOAT)
    node = ir.node("NormHeads", [x, weight, *angles], {"heads": heads, "epsilon": epsilon}, domain=DOMAIN)
    batch, new = (x.shape[0], x.shape[1]) if x.shape is not None else (None, None)
    node.outputs[0].type = x.type
    node.outputs[0].shape = ir.Shape([batch, heads, new, static_size(x, -1) // heads])
    return build.insert(node)[0]
