"""Query heads of a full layer as rows of one head, for a decoded token.

ONNX Runtime's CPU Attention reads keys and values once a query head, in parallel over heads. Heads that share a KV head
can be rows of one product, which reads them once; two heads are left, for two threads. Attention is then 2.4 times
faster at 16,384 tokens of E2B. The keys of a sliding layer stay in the processor's cache, and gain nothing.

    q [B, N, 1, D] -> [B, N / F, F, D],  mask [B, 1, 1, T] -> [B, 1, F, T];  as they are for more than one new token
"""

from __future__ import annotations

import onnx_ir as ir

from g4compile.graph.axes import static_size
from g4compile.graph.build import Builder

_THREADS = 2  # heads that are left: work for as many threads


def fold_of(heads: int, kv_heads: int, window: int) -> int:
    """How many query heads become rows of one: a divisor of those that share a KV head."""
    group = heads // kv_heads
    if window:
        return 1
    return max(fold for fold in range(1, group + 1) if group % fold == 0 and fold * _THREADS <= max(heads, _THREADS))


def fold_heads(query: ir.Value, mask: ir.Value, heads: int, fold: int, build: Builder) -> tuple[ir.Value, ir.Value]:
    """``query`` [B, N, S, D] and ``mask`` [B, 1, S, T], folded when S is 1. Layers of one mask share all but a
    reshape."""
    new = build.op("Shape", mask, start=2, end=3)
    one = build.op("Equal", new, build.constant([1]))
    kept = build.op("Where", one, build.constant([heads // fold]), build.constant([heads]))
    rows = build.op("Where", one, build.constant([fold]), new)
    folded = _joined([0, kept, -1, static_size(query, -1)], build)
    repeated = _joined([1, 1, rows, 1], build)
    return build.op("Reshape", query, folded), build.op("Expand", mask, repeated)


def unfold_heads(attended: ir.Value, like: ir.Value, build: Builder) -> ir.Value:
    """Back to the shape [B, N, S, D] that the query ``like`` had."""
    sizes = build.constant([0, static_size(like, 1), -1, static_size(like, -1)])
    unfolded = build.op("Reshape", attended, sizes)
    unfolded.shape = like.shape
    return unfolded


def _joined(sizes: list[int | ir.Value], build: Builder) -> ir.Value:
    parts = [size if isinstance(size, ir.Value) else build.constant([size]) for size in sizes]
    return build.op("Concat", *parts, axis=0)
