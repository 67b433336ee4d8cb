"""What TensorRT layers say better than an op's own body: g4 ops as the standard ops that `layers.py` emits.

Norms and soft-maxes in float32 whatever the activations are; products and attention in the activations' dtype. Heads
wider than what fuses (`FUSED_HEAD`), and ranks that have too few, are attended by products: their query heads are
folded to rows of their KV head, so that keys and values are not repeated for each.
"""

from __future__ import annotations

import onnx_ir as ir

from g4compile.errors import SpecError
from g4compile.graph.axes import resize, sizes_of, static_size
from g4compile.graph.build import Builder
from g4compile.graph.stage import describe
from g4compile.ops.axial_rope import AxialRope
from g4compile.ops.bidirectional_attention import BidirectionalAttention
from g4compile.ops.dual_rope_attention import DualRopeAttention
from g4compile.ops.flash_attention import FlashAttention
from g4compile.ops.linear import Linear
from g4compile.ops.relative_attention import RelativeAttention
from g4compile.passes.experts.dense import transposed_product
from g4compile.passes.legalize import Lowering, Lowerings
from g4compile.targets.lowering.fixed_caches import FIXED_CACHES, norm
from g4compile.targets.lowering.heads import merge_heads, rotate, split_heads
from g4compile.targets.tensorrt.relative import relative_attention

FUSED_HEAD = 256  # the widest head for which TensorRT has a fused attention kernel
_FUSED_HEADS = (
    4  # the fewest query heads for which it has one of a single query (and 2 for more): RTX 1.7 refuses 2 and 1
)
# Rows up to which sums of products read less than codes that are dequantised first: half a byte per row and weight,
# or 4.5 per weight.
_SUMMED = 8
_FLOAT = ir.DataType.FLOAT


def _linear(sequences: int, tokens: int) -> Lowering:
    def lower(op: Linear, build: Builder) -> list[ir.Value]:
        producer, new = op.weight.producer(), sizes_of(op.x)[-2]
        rows = sequences * (new if isinstance(new, int) else tokens)
        if producer is not None and producer.op_type == "DequantizeLinear" and 0 < rows <= _SUMMED:
            return [_summed_product(op.x, op.weight, build)]
        return [transposed_product(build, op.x, op.weight)]

    return lower


def _summed_product(x: ir.Value, weight: ir.Value, build: Builder) -> ir.Value:
    """A few rows by 4-bit codes, as sums of products: TensorRT dequantises in the same kernel, which it does for no
    matrix product whose codes are an input."""
    rows = build.op("Unsqueeze", x, build.constant([-2]))
    terms = build.op("Mul", build.cast(weight, _FLOAT), build.cast(rows, _FLOAT))
    return build.cast(build.op("ReduceSum", terms, build.constant([-1]), keepdims=0), x.dtype or _FLOAT)


def _attention(fused_head: int, flash: bool) -> Lowering:
    def lower(op: DualRopeAttention, build: Builder) -> list[ir.Value]:
        if op.mask is None:
            raise SpecError("attention in an engine reads a mask", where=describe(op.node))
        normed = norm(split_heads(op.query, op.heads, build), op.query_norm, op.epsilon, build)
        rotated = rotate(normed, op.cos, op.sin, op.rotary, build)
        width, new = static_size(rotated, -1), sizes_of(rotated)[2]
        few = op.heads < (_FUSED_HEADS if new == 1 else 2)
        if width > fused_head and flash and op.window == 0 and op.scale == 1 and new == _step_tokens(build):
            attended = _flash(rotated, op.key, op.value, build)
        elif width > fused_head or few:
            attended = _folded(rotated, op, op.mask, build)
        else:
            mask = build.cast(op.mask, rotated.dtype or _FLOAT)
            attended = build.op("Attention", rotated, op.key, op.value, mask, scale=op.scale)
        return [merge_heads(attended, build)]

    return lower


def _bidirectional(fused_head: int) -> Lowering:
    """Of every query to every key. The layer has no mask, which is the form that all releases have kernels for; heads
    that it does not take are attended by products, whose scores stand in memory."""

    def lower(op: BidirectionalAttention, build: Builder) -> list[ir.Value]:
        query = op.query
        if op.scale != 1:
            query = build.op("Mul", query, build.constant(op.scale, query.dtype or _FLOAT))
        if static_size(query, -1) <= fused_head:
            attended = build.op("Attention", query, op.key, op.value, scale=1.0)
        elif static_size(query, 1) == static_size(op.key, 1):
            scores = build.cast(transposed_product(build, query, op.key), _FLOAT)
            shares = build.cast(build.op("Softmax", scores, axis=-1), query.dtype or _FLOAT)
            attended = build.op("MatMul", shares, op.value)
        else:
            raise SpecError(
                f"heads of {static_size(query, -1)} that share keys are not attended here", where=describe(op.node)
            )
        attended.shape = query.shape
        return [build.op("Transpose", attended, perm=[0, 2, 1, 3])]

    return lower


def _axial_rope(op: AxialRope, build: Builder) -> list[ir.Value]:
    """As the rotation of a sequence of two per patch: each half of a head is a head at a position of its own."""
    batch, heads, width = (static_size(op.x, axis) for axis in (0, -2, -1))
    halves = build.op("Reshape", op.x, build.constant([-1, heads, 2, width // 2]))
    angles = (build.op("Reshape", one, build.constant([-1, 2, width // 4])) for one in (op.cos, op.sin))
    turned = build.op("RotaryEmbedding", halves, *angles, interleaved=0)
    y = build.op("Reshape", turned, build.constant([batch, -1, heads, width]))
    y.shape = op.x.shape
    return [y]


def _flash(query: ir.Value, key: ir.Value, value: ir.Value, build: Builder) -> ir.Value:
    """By the kernel of ours, which makes the mask from positions: those of a step's tokens follow each other. Not of
    the one position that has logits, which is not the first."""
    first = build.op("Gather", _positions(build), build.constant(0), axis=1)
    return FlashAttention.insert(build, query, key, value, first)


def _positions(build: Builder) -> ir.Value:
    return next(value for value in build.graph.inputs if value.name == "position_ids")


def _step_tokens(build: Builder) -> object:
    return sizes_of(_positions(build))[1]


def _folded(query: ir.Value, op: DualRopeAttention, mask: ir.Value, build: Builder) -> ir.Value:
    """softmax(scale * q k^T + mask) v with the query heads of a KV head as rows of one product: [B, N, S, D]."""
    heads, width, new = static_size(query, 1), static_size(query, -1), sizes_of(query)[2]
    kv_heads, slots = static_size(op.key, 1), _or_rest(sizes_of(op.key)[2])
    dtype = query.dtype or _FLOAT
    if new == 1:
        scores = _row_scores(query, op.key, build)
    else:
        folded = build.op("Reshape", query, build.constant([0, kv_heads, -1, width]))
        products = transposed_product(build, folded, op.key)
        unfolded = build.op("Reshape", products, build.constant([0, heads, -1, slots]))
        resize(unfolded, 2, new)
        scores = build.cast(unfolded, _FLOAT)
    if op.scale != 1:
        scores = build.op("Mul", scores, build.constant(op.scale, _FLOAT))
    shares = build.cast(build.op("Softmax", build.op("Add", scores, mask), axis=-1), dtype)
    by_kv = build.op("Reshape", shares, build.constant([0, kv_heads, -1, slots]))
    attended = build.op("MatMul", by_kv, op.value)
    unfolded = build.op("Reshape", attended, build.constant([0, heads, -1, width]))
    unfolded.shape = query.shape
    return unfolded


def _row_scores(query: ir.Value, key: ir.Value, build: Builder) -> ir.Value:
    """One query per head: float32 scores [B, N, 1, T] as sums of products, which TensorRT runs without a copy of the
    keys."""
    kv_heads, width = static_size(key, 1), static_size(query, -1)
    group = static_size(query, 1) // kv_heads
    rows = build.op("Reshape", query, build.constant([0, kv_heads, group, 1, width]))
    keys = build.op("Unsqueeze", key, build.constant([2]))
    terms = build.op("Mul", build.cast(rows, _FLOAT), build.cast(keys, _FLOAT))
    scores = build.op("ReduceSum", terms, build.constant([-1]), keepdims=0)
    by_head = build.op("Reshape", scores, build.constant([0, -1, 1, _or_rest(sizes_of(key)[2])]))
    resize(by_head, 1, static_size(query, 1))
    return by_head


def _or_rest(size: object) -> int:
    """A size that reshapes can name; -1 never meets another -1 here, because caches of an engine are of fixed size."""
    return size if isinstance(size, int) else -1


def lowerings(fused_head: int = FUSED_HEAD, flash: bool = False, sequences: int = 1, tokens: int = 0) -> Lowerings:
    """By op. ``fused_head``: the widest head that is attended by one layer. ``flash``: wider ones have a kernel of
    ours. ``sequences`` and new ``tokens`` of each: at most, 0 for many."""
    return {
        **FIXED_CACHES,
        Linear: _linear(sequences, tokens),
        AxialRope: _axial_rope,
        BidirectionalAttention: _bidirectional(fused_head),
        DualRopeAttention: _attention(fused_head, flash),
        RelativeAttention: relative_attention,
    }
