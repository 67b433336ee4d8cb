"""Heads in ops that every target has: split from a projection, merged again, and rotated by position."""

from __future__ import annotations

import onnx_ir as ir

from g4compile.graph.axes import static_size
from g4compile.graph.build import Builder


def split_heads(x: ir.Value, heads: int, build: Builder) -> ir.Value:
    """[B, S, N*D] -> [B, N, S, D]."""
    split = build.op("Reshape", x, build.constant([0, 0, heads, static_size(x, -1) // heads]))
    return build.op("Transpose", split, perm=[0, 2, 1, 3])


def merge_heads(x: ir.Value, build: Builder) -> ir.Value:
    """[B, N, S, D] -> [B, S, N*D]."""
    tokens = build.op("Transpose", x, perm=[0, 2, 1, 3])
    return build.op("Reshape", tokens, build.constant([0, 0, -1]))


def rotate(x: ir.Value, cos: ir.Value, sin: ir.Value, rotary: int, build: Builder) -> ir.Value:
    """Rotate the first ``rotary`` dimensions of every head of [B, N, S, D] by angles [B, S, rotary / 2]."""
    partial = {} if rotary == static_size(x, -1) else {"rotary_embedding_dim": rotary}
    return build.op("RotaryEmbedding", x, cos, sin, interleaved=0, **partial)
