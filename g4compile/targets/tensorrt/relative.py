"""Attention of sounds as layers of TensorRT: blocks of queries, each with the keys of its own block and of the one
before.

As the op's body (`ops/relative_attention.py`), in forms of which the number of blocks is the only dynamic size: tensors
are filled up with zeros, or cut, by slices whose size is computed, and the mask of the first block, before which there
are no keys, is a constant that is filled up with zeros as well. All in float32.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from g4compile.graph.axes import resize, static_size
from g4compile.graph.build import Builder
from g4compile.ops.relative_attention import RelativeAttention
from g4compile.targets.lowering.fixed_caches import MASKED

_FLOAT = ir.DataType.FLOAT
BLOCKS, PADDED = "blocks", "padded_tokens"  # names of sizes: of blocks, and of their tokens


def relative_attention(op: RelativeAttention, build: Builder) -> list[ir.Value]:
    window, tokens = op.window, build.op("Shape", op.query, start=1, end=2)
    blocks = build.op("Div", build.op("Add", tokens, build.constant([window - 1])), build.constant([window]))
    spare = build.op("Sub", build.op("Mul", blocks, build.constant([window])), tokens)
    query = _blocks(build, op, op.query, 0, spare)
    own, before = (
        [_blocks(build, op, one, front, build.op("Sub", spare, build.constant([front])) if front else spare)
         for one in (op.key, op.value)]
        for front in (0, window)
    )  # fmt: skip
    key, value = (build.op("Concat", old, new, axis=2) for old, new in zip(before, own, strict=True))
    query = build.op("Transpose", query, perm=[0, 3, 1, 2, 4])
    by_content = build.op("MatMul", query, build.op("Transpose", key, perm=[0, 3, 1, 4, 2]))
    scores = build.op("Add", by_content, _by_distance(build, op, query))
    cap = build.constant(op.softcap, _FLOAT)
    capped = build.op("Mul", build.op("Tanh", build.op("Div", scores, cap)), cap)
    shares = build.op("Softmax", build.op("Add", capped, _mask(build, window, blocks)), axis=-1)
    attended = build.op("MatMul", shares, build.op("Transpose", value, perm=[0, 3, 1, 2, 4]))
    heads, width = static_size(op.query, 2), static_size(op.query, 3)
    by_token = build.op("Transpose", attended, perm=[0, 2, 3, 1, 4])
    whole = build.op("Reshape", by_token, build.constant([0, -1, heads, width]))
    resize(whole, 1, PADDED)
    out = build.op("Slice", whole, build.constant([0]), tokens, build.constant([1]))
    out.shape = op.value.shape
    return [out]


def _blocks(build: Builder, op: RelativeAttention, x: ir.Value, before: int, behind: ir.Value) -> ir.Value:
    """``x`` [B, T, N, D], with zeros ``before`` it and so many ``behind`` it, as [B, M, W, N, D]."""
    padded = _padded(build, x, before, behind, 1)
    resize(padded, 1, PADDED)
    sizes = [0, -1, op.window, static_size(x, 2), static_size(x, 3)]
    blocks = build.op("Reshape", padded, build.constant(sizes))
    resize(blocks, 1, BLOCKS)
    return blocks


def _by_distance(build: Builder, op: RelativeAttention, query: ir.Value) -> ir.Value:
    """[B, N, M, W, 2W] of ``query`` [B, N, M, W, D]: the product with the key of each distance, a column for each key
    of the two blocks. Zeros stand behind the W+1 rows of `relative`; a row read 2W wide, each begun one later than the
    last, has distance W + i - j in column j (the shift of Transformer-XL)."""
    window, heads, width = op.window, static_size(query, 1), static_size(query, 4)
    rows = build.op("Transpose", op.relative, perm=[1, 2, 0])
    zeros = build.constant(np.zeros((heads, width, window), np.float32), _FLOAT)
    filled = build.op("Concat", rows, zeros, axis=2)
    keys = build.op("Reshape", filled, build.constant([1, heads, 1, width, 2 * window + 1]))
    products = build.op("MatMul", query, keys)
    flat = build.op("Reshape", products, build.constant([0, heads, -1, window * (2 * window + 1)]))
    resize(flat, 2, BLOCKS)
    cut = build.op("Slice", flat, *(build.constant([number]) for number in (0, 2 * window * window, 3)))
    shifted = build.op("Reshape", cut, build.constant([0, heads, -1, window, 2 * window]))
    resize(shifted, 2, BLOCKS)
    return shifted


def _mask(build: Builder, window: int, blocks: ir.Value) -> ir.Value:
    """Additive [1, 1, M, W, 2W]: 0 where a key is less than W behind the query and not later, and not before the first
    block."""
    ahead = np.arange(2 * window) - np.arange(window)[:, None]
    near = np.where((ahead > 0) & (ahead <= window), np.float32(0), np.float32(MASKED))
    first = np.where(np.arange(2 * window) < window, np.float32(MASKED), np.float32(0))
    more = build.op("Sub", blocks, build.constant([1]))
    begins = _padded(build, build.constant(first.reshape(1, 1, 1, 1, -1), _FLOAT), 0, more, 2)
    return build.op("Add", begins, build.constant(near.reshape(1, 1, 1, window, -1), _FLOAT))


def _padded(build: Builder, x: ir.Value, before: int, behind: ir.Value, axis: int) -> ir.Value:
    pads = build.op("Concat", build.constant([before]), behind, axis=0)
    return build.op("Pad", x, pads, None, build.constant([axis]))
