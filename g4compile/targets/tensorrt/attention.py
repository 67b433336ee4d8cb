"""Attention as layers of TensorRT: that of the decoder, in each of the forms of `attention_forms.py`, and that of
encoders, which has no mask.

Rows of keys and values that no query of a step sees are set to 0 first, in every form. A soft-max gives them no share,
but 0 times a NaN is a NaN: so what stands in a slot that was never written cannot matter. Soft-maxes are in float32,
products in the activations' dtype.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from g4compile.errors import SpecError
from g4compile.graph.axes import resize, sizes_of, static_size
from g4compile.graph.build import Builder
from g4compile.graph.stage import describe
from g4compile.ops.bidirectional_attention import BidirectionalAttention
from g4compile.ops.dual_rope_attention import DualRopeAttention
from g4compile.ops.flash_attention import FlashAttention
from g4compile.passes.experts.dense import transposed_product
from g4compile.passes.legalize import Lowering
from g4compile.targets.lowering.fixed_caches import MASKED, norm
from g4compile.targets.lowering.heads import merge_heads, rotate, split_heads
from g4compile.targets.tensorrt.attention_forms import FOLDED, FUSED, SELECT, FusedLayer

_FLOAT = ir.DataType.FLOAT
# softmax(scale * q k^T + mask) v of q [B, N, S, D], k and v [B, K, T, D], and an additive mask [B, 1, S, T].
_Form = Callable[[ir.Value, ir.Value, ir.Value, ir.Value, float, Builder], ir.Value]


def attention(form: str, fused: FusedLayer, flash: bool) -> Lowering:
    """Of the decoder's layers in ``form``, as far as they have it. ``flash``: heads that are too wide for the fused
    layer have a kernel of ours."""

    def lower(op: DualRopeAttention, build: Builder) -> list[ir.Value]:
        if op.mask is None:
            raise SpecError("attention in an engine reads a mask", where=describe(op.node))
        normed = norm(split_heads(op.query, op.heads, build), op.query_norm, op.epsilon, build)
        rotated = rotate(normed, op.cos, op.sin, op.rotary, build)
        width, one_query = static_size(rotated, -1), sizes_of(rotated)[2] == 1
        # The one query that the shared tail keeps would be one program a KV head.
        if width > fused.head and flash and not one_query and op.window == 0 and op.scale == 1:
            return [merge_heads(_flash(rotated, op, build), build)]
        fits = fused.takes(width, op.heads, static_size(op.key, 2), one_query)
        attend = _FORMS[form if fits or form != FUSED else fused.otherwise]
        key, value = (_seen_rows(cache, op.mask, build) for cache in (op.key, op.value))
        return [merge_heads(attend(rotated, key, value, op.mask, op.scale, build), build)]

    return lower


def bidirectional(widest: int) -> Lowering:
    """Of every query to every key. The layer has no mask, which is the form that all releases have kernels for; heads
    wider than ``widest`` are attended by products, whose scores stand in memory."""

    def lower(op: BidirectionalAttention, build: Builder) -> list[ir.Value]:
        query = op.query
        if op.scale != 1:
            query = build.op("Mul", query, build.constant(op.scale, query.dtype or _FLOAT))
        if static_size(query, -1) <= widest:
            attended = build.op("Attention", query, op.key, op.value, scale=1.0)
        elif static_size(query, 1) == static_size(op.key, 1):
            scores = build.cast(transposed_product(build, query, op.key), _FLOAT)
            attended = build.op("MatMul", _shares(scores, query, build), op.value)
        else:
            raise SpecError(
                f"heads of {static_size(query, -1)} that share keys are not attended here", where=describe(op.node)
            )
        attended.shape = query.shape
        return [build.op("Transpose", attended, perm=[0, 2, 1, 3])]

    return lower


def _seen_rows(cache: ir.Value, mask: ir.Value, build: Builder) -> ir.Value:
    """``cache`` [B, K, T, D] with zeros in the rows that no query sees: those behind the last token among them."""
    best = build.op("ReduceMax", mask, build.constant([2]), keepdims=1)
    rows = build.op("Transpose", _open(best, build), perm=[0, 1, 3, 2])
    return build.op("Where", rows, cache, build.constant(0.0, cache.dtype or _FLOAT))


def _open(mask: ir.Value, build: Builder) -> ir.Value:
    """Where an additive mask, of 0 and `MASKED`, hides nothing."""
    return build.op("Greater", mask, build.constant(MASKED / 2, _FLOAT))


def _fused(query: ir.Value, key: ir.Value, value: ir.Value, mask: ir.Value, scale: float, build: Builder) -> ir.Value:
    return build.op("Attention", query, key, value, build.cast(mask, query.dtype or _FLOAT), scale=scale)


def _select(query: ir.Value, key: ir.Value, value: ir.Value, mask: ir.Value, scale: float, build: Builder) -> ir.Value:
    """Keys and values are not repeated for the query heads that share them: the products broadcast."""
    heads, kv_heads, width = static_size(query, 1), static_size(key, 1), static_size(query, -1)
    grouped = build.op("Reshape", query, build.constant([0, kv_heads, heads // kv_heads, -1, width]))
    resize(grouped, 3, sizes_of(query)[2])
    keys, values, seen = (build.op("Unsqueeze", one, build.constant([2])) for one in (key, value, _open(mask, build)))
    scores = _scaled(build.cast(transposed_product(build, grouped, keys), _FLOAT), scale, build)
    shown = build.op("Where", seen, scores, build.constant(MASKED, _FLOAT))
    attended = build.op("MatMul", _shares(shown, query, build), values)
    by_head = build.op("Reshape", attended, build.constant([0, heads, -1, width]))
    by_head.shape = query.shape
    return by_head


def _folded(query: ir.Value, key: ir.Value, value: ir.Value, mask: ir.Value, scale: float, build: Builder) -> ir.Value:
    heads, kv_heads, width = static_size(query, 1), static_size(key, 1), static_size(query, -1)
    new, slots = sizes_of(query)[2], static_size(key, 2)
    if new == 1:
        scores = _row_scores(query, key, build)
    else:
        folded = build.op("Reshape", query, build.constant([0, kv_heads, -1, width]))
        products = transposed_product(build, folded, key)
        unfolded = build.op("Reshape", products, build.constant([0, heads, -1, slots]))
        resize(unfolded, 2, new)
        scores = build.cast(unfolded, _FLOAT)
    shares = _shares(build.op("Add", _scaled(scores, scale, build), mask), query, build)
    by_kv = build.op("Reshape", shares, build.constant([0, kv_heads, -1, slots]))
    attended = build.op("MatMul", by_kv, value)
    by_head = build.op("Reshape", attended, build.constant([0, heads, -1, width]))
    by_head.shape = query.shape
    return by_head


_FORMS: dict[str, _Form] = {FUSED: _fused, SELECT: _select, FOLDED: _folded}


def _row_scores(query: ir.Value, key: ir.Value, build: Builder) -> ir.Value:
    """One query per head: float32 scores [B, N, 1, T] as sums of products, which TensorRT runs without a copy of the
    keys."""
    heads, kv_heads, width = static_size(query, 1), static_size(key, 1), static_size(query, -1)
    rows = build.op("Reshape", query, build.constant([0, kv_heads, heads // kv_heads, 1, width]))
    keys = build.op("Unsqueeze", key, build.constant([2]))
    terms = build.op("Mul", build.cast(rows, _FLOAT), build.cast(keys, _FLOAT))
    scores = build.op("ReduceSum", terms, build.constant([-1]), keepdims=0)
    by_head = build.op("Reshape", scores, build.constant([0, -1, 1, static_size(key, 2)]))
    resize(by_head, 1, heads)
    return by_head


def _scaled(scores: ir.Value, scale: float, build: Builder) -> ir.Value:
    return scores if scale == 1 else build.op("Mul", scores, build.constant(scale, _FLOAT))


def _shares(scores: ir.Value, like: ir.Value, build: Builder) -> ir.Value:
    """The soft-max of float32 ``scores`` over keys, in the dtype of ``like``."""
    return build.cast(build.op("Softmax", scores, axis=-1), like.dtype or _FLOAT)


def _flash(query: ir.Value, op: DualRopeAttention, build: Builder) -> ir.Value:
    """Of all queries of a step, by the kernel of ours, which makes the mask from their positions."""
    positions = next(value for value in build.graph.inputs if value.name == "position_ids")
    by_token = build.op("Transpose", query, perm=[0, 2, 1, 3])
    attended = FlashAttention.insert(build, by_token, positions, op.key, op.value)
    return build.op("Transpose", attended, perm=[0, 2, 1, 3])
