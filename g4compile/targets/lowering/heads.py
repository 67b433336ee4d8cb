"""Heads in ops that every target has: split from a projection, and turned by position."""

from __future__ import annotations

import onnx_ir as ir

from g4compile.graph.edit import Inserter


def split_heads(x: ir.Value, heads: int, insert: Inserter) -> ir.Value:
    """[B, S, N*D] -> [B, N, S, D]."""
    assert x.shape is not None and isinstance(x.shape[-1], int)
    batch, new, width = list(x.shape)
    assert isinstance(width, int)
    split = insert.op(
        "Reshape", [x, insert.constant([0, 0, heads, width // heads])], shape=[batch, new, heads, width // heads]
    )
    return insert.op("Transpose", [split], {"perm": [0, 2, 1, 3]}, shape=[batch, heads, new, width // heads])


def merge_heads(x: ir.Value, insert: Inserter) -> ir.Value:
    """[B, N, S, D] -> [B, S, N*D]."""
    assert x.shape is not None
    batch, heads, new, width = list(x.shape)
    assert isinstance(heads, int) and isinstance(width, int)
    tokens = insert.op("Transpose", [x], {"perm": [0, 2, 1, 3]}, shape=[batch, new, heads, width])
    return insert.op("Reshape", [tokens, insert.constant([0, 0, -1])], shape=[batch, new, heads * width])


def rotate(x: ir.Value, cos: ir.Value | None, sin: ir.Value | None, rotary: int, insert: Inserter) -> ir.Value:
    """Turn the first ``rotary`` numbers of every head of [B, N, S, D] by angles [B, S, rotary / 2]."""
    assert x.shape is not None
    partial = {} if rotary == x.shape[-1] else {"rotary_embedding_dim": rotary}
    return insert.op("RotaryEmbedding", [x, cos, sin], {"interleaved": 0, **partial}, shape=list(x.shape))
