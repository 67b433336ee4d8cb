"""What TensorRT layers say better than an op's own body: g4 ops as the standard ops that `layers.py` emits.

Norms and soft-maxes in float32 whatever the activations are; products and attention in the activations' dtype. Heads wider
than what fuses (`FUSED_HEAD`), and ranks that have too few, are attended by products: their query heads are folded to rows of their KV head, so that
keys and values are not repeated for each.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from g4compile.graph.edit import Inserter, Size
from g4compile.ops.insert import insert_op
from g4compile.passes.experts.dense import transposed_product
from g4compile.passes.legalize import Lowering
from g4compile.targets.lowering.heads import merge_heads, rotate, split_heads

BFLOAT16 = "bfloat16"  # what activations and caches are in, and weights unless they are codes
FUSED_HEAD = 256  # the widest head for which TensorRT has a fused attention kernel
_FUSED_HEADS = (
    4  # the fewest query heads for which it has one of a single query (and 2 for more): RTX 1.7 refuses 2 and 1
)
_SUMMED = 8  # rows up to which sums of products read less than codes that are first dequantised: half a byte a row and weight to 4.5
_MASKED = -3.0e38  # finite in bfloat16: a fused kernel may meet a tile in which everything is masked
_FLOAT, _BOOL = ir.DataType.FLOAT, ir.DataType.BOOL


def _linear(sequences: int, tokens: int) -> Lowering:
    def lower(node: ir.Node, insert: Inserter) -> list[ir.Value]:
        x, weight = node.inputs
        assert x is not None and x.shape is not None and weight is not None and node.outputs[0].shape is not None
        producer, new = weight.producer(), x.shape[-2]
        shape: list[Size] = list(node.outputs[0].shape)
        rows = sequences * (new if isinstance(new, int) else tokens)
        if producer is not None and producer.op_type == "DequantizeLinear" and 0 < rows <= _SUMMED:
            return [_summed_product(x, weight, shape, insert)]
        return [transposed_product(insert, x, weight, shape)]

    return lower


def _summed_product(x: ir.Value, weight: ir.Value, shape: list[Size], insert: Inserter) -> ir.Value:
    """A few rows by 4-bit codes, as sums of products: TensorRT dequantises in the same kernel, which it does for no matrix
    product whose codes are an input."""
    assert x.shape is not None and x.dtype is not None
    rows = insert.op("Unsqueeze", [x, insert.constant([-2])], shape=[*list(x.shape)[:-1], 1, x.shape[-1]])
    terms = insert.op("Mul", [insert.cast(weight, _FLOAT), insert.cast(rows, _FLOAT)], shape=[*shape, x.shape[-1]])
    return insert.cast(insert.op("ReduceSum", [terms, insert.constant([-1])], {"keepdims": 0}, shape=shape), x.dtype)


def _norm(x: ir.Value, scale: ir.Value | None, epsilon: float, insert: Inserter) -> ir.Value:
    """In float32, scale included, then back: `Gemma4RMSNorm`."""
    assert x.shape is not None and isinstance(x.shape[-1], int) and x.dtype is not None
    if scale is None:
        scale = insert.constant(np.ones(x.shape[-1], np.float32), _FLOAT)
    wide = [insert.cast(x, _FLOAT), insert.cast(scale, _FLOAT)]
    attributes = {"axis": -1, "epsilon": epsilon}
    return insert.cast(insert.op("RMSNormalization", wide, attributes, shape=list(x.shape)), x.dtype)


def _rms_norm(node: ir.Node, insert: Inserter) -> list[ir.Value]:
    x, scale = node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None
    assert x is not None
    return [_norm(x, scale, node.attributes["epsilon"].as_float(), insert)]


def _rope_key_value(node: ir.Node, insert: Inserter) -> list[ir.Value]:
    key_in, value_in, key_norm, cos, sin = node.inputs
    assert key_in is not None and value_in is not None
    heads, epsilon = node.attributes["kv_heads"].as_int(), node.attributes["epsilon"].as_float()
    key = _norm(split_heads(key_in, heads, insert), key_norm, epsilon, insert)
    value = _norm(split_heads(value_in, heads, insert), None, epsilon, insert)
    return [rotate(key, cos, sin, node.attributes["rotary"].as_int(), insert), value]


def _positions(node: ir.Node, insert: Inserter) -> tuple[ir.Value, int, list[Size]]:
    """The query positions as [B, S, 1], the number of keys, and the shape of the mask."""
    positions, keys = node.inputs
    assert positions is not None and positions.shape is not None and keys is not None and keys.shape is not None
    batch, new = list(positions.shape)
    slots = keys.shape[2]
    if not isinstance(slots, int):
        slots = 0  # dynamic: only in graphs that are not for an engine
    return (
        insert.op("Unsqueeze", [positions, insert.constant([-1])], shape=[batch, new, 1]),
        slots,
        [batch, 1, new, slots],
    )


def _additive(allowed: ir.Value, shape: list[Size], insert: Inserter) -> ir.Value:
    open_, closed = (insert.constant(value, _FLOAT) for value in (0.0, _MASKED))
    batch, _, new, slots = shape
    mask = insert.op("Where", [allowed, open_, closed], shape=[batch, new, slots], dtype=_FLOAT)
    return insert.op("Unsqueeze", [mask, insert.constant([1])], shape=shape)


def _causal_mask(node: ir.Node, insert: Inserter) -> list[ir.Value]:
    query, slots, shape = _positions(node, insert)
    at = insert.constant(np.arange(slots, dtype=np.int64)[None, None])
    allowed = insert.op("LessOrEqual", [at, query], shape=[shape[0], shape[2], slots], dtype=_BOOL)
    return [_additive(allowed, shape, insert)]


def _ring_mask(node: ir.Node, insert: Inserter) -> list[ir.Value]:
    """Slot s holds the newest position up to the last one that is s modulo the number of slots."""
    query, ring, shape = _positions(node, insert)
    batch, _, new, _ = shape
    positions, window = node.inputs[0], node.attributes["window"].as_int()
    last = insert.op(
        "Slice",
        [positions, insert.constant([-1]), insert.constant([2**63 - 1]), insert.constant([1])],
        shape=[batch, 1],
    )
    slots = insert.constant(np.arange(ring, dtype=np.int64)[None])
    age = insert.op(
        "Mod", [insert.op("Sub", [last, slots], shape=[batch, ring]), insert.constant(ring)], shape=[batch, ring]
    )
    at_row = insert.op("Sub", [last, age], shape=[batch, ring])
    at = insert.op("Unsqueeze", [at_row, insert.constant([1])], shape=[batch, 1, ring])
    sizes = [batch, new, ring]
    causal = insert.op("LessOrEqual", [at, query], shape=sizes, dtype=_BOOL)
    oldest = insert.op("Sub", [query, insert.constant(window)], shape=[batch, new, 1])
    near = insert.op("Greater", [at, oldest], shape=sizes, dtype=_BOOL)
    written = insert.op("LessOrEqual", [insert.constant(0), at], shape=[batch, 1, ring], dtype=_BOOL)
    seen = insert.op("And", [causal, near], shape=sizes, dtype=_BOOL)
    return [_additive(insert.op("And", [seen, written], shape=sizes, dtype=_BOOL), shape, insert)]


def _attention(fused_head: int, flash: bool) -> Lowering:
    def lower(node: ir.Node, insert: Inserter) -> list[ir.Value]:
        query, query_norm, cos, sin, key, value, mask = node.inputs
        assert (
            query is not None and key is not None and key.shape is not None and value is not None and mask is not None
        )
        heads = node.attributes["heads"].as_int()
        normed = _norm(split_heads(query, heads, insert), query_norm, node.attributes["epsilon"].as_float(), insert)
        rotated = rotate(normed, cos, sin, node.attributes["rotary"].as_int(), insert)
        assert rotated.shape is not None and isinstance(rotated.shape[-1], int) and rotated.dtype is not None
        scale = node.attributes["scale"].as_float()
        few = heads < (_FUSED_HEADS if rotated.shape[2] == 1 else 2)
        if rotated.shape[-1] > fused_head and flash and node.attributes["window"].as_int() == 0 and scale == 1:
            attended = _flash(rotated, key, value, insert)
        elif rotated.shape[-1] > fused_head or few:
            attended = _folded(rotated, key, value, mask, scale, insert)
        else:
            attended = insert.op(
                "Attention",
                [rotated, key, value, insert.cast(mask, rotated.dtype)],
                {"scale": scale},
                shape=list(rotated.shape),
            )
        return [merge_heads(attended, insert)]

    return lower


def _flash(query: ir.Value, key: ir.Value, value: ir.Value, insert: Inserter) -> ir.Value:
    """By the kernel of ours, which makes the mask from positions: those of a step's tokens follow each other."""
    positions = next(value for value in insert.graph.inputs if value.name == "position_ids")
    assert positions.shape is not None
    first = insert.op("Gather", [positions, insert.constant(0)], {"axis": 1}, shape=[positions.shape[0]])
    return insert_op(insert, "FlashAttention", [query, key, value, first])[0]


def _folded(
    query: ir.Value, key: ir.Value, value: ir.Value, mask: ir.Value, scale: float, insert: Inserter
) -> ir.Value:
    """softmax(scale * q k^T + mask) v with the query heads of a KV head as rows of one product: [B, N, S, D]."""
    assert query.shape is not None and key.shape is not None and query.dtype is not None
    batch, heads, new, width = list(query.shape)
    kv_heads, slots = key.shape[1], key.shape[2]
    assert isinstance(heads, int) and isinstance(kv_heads, int) and isinstance(width, int)
    group = heads // kv_heads
    rows = group * new if isinstance(new, int) else None
    if new == 1:
        scores = _row_scores(query, key, group, insert)
    else:
        folded = insert.op(
            "Reshape", [query, insert.constant([0, kv_heads, -1, width])], shape=[batch, kv_heads, rows, width]
        )
        products = transposed_product(insert, folded, key, [batch, kv_heads, rows, slots])
        unfolded = insert.op(
            "Reshape", [products, insert.constant([0, heads, -1, _static(slots)])], shape=[batch, heads, new, slots]
        )
        scores = insert.cast(unfolded, _FLOAT)
    sizes: list[Size] = list(scores.shape or ())
    if scale != 1:
        scores = insert.op("Mul", [scores, insert.constant(scale, _FLOAT)], shape=sizes)
    masked = insert.op("Add", [scores, mask], shape=sizes)
    shares = insert.cast(insert.op("Softmax", [masked], {"axis": -1}, shape=sizes), query.dtype)
    by_kv = insert.op(
        "Reshape", [shares, insert.constant([0, kv_heads, -1, _static(slots)])], shape=[batch, kv_heads, rows, slots]
    )
    attended = insert.op("MatMul", [by_kv, value], shape=[batch, kv_heads, rows, width])
    return insert.op("Reshape", [attended, insert.constant([0, heads, -1, width])], shape=[batch, heads, new, width])


def _row_scores(query: ir.Value, key: ir.Value, group: int, insert: Inserter) -> ir.Value:
    """One query a head: float32 scores [B, N, 1, T] as sums of products, which TensorRT runs without a copy of the keys."""
    assert query.shape is not None and key.shape is not None
    batch, heads, _, width = list(query.shape)
    kv_heads, slots = key.shape[1], key.shape[2]
    assert isinstance(kv_heads, int) and isinstance(width, int)
    rows = insert.op(
        "Reshape", [query, insert.constant([0, kv_heads, group, 1, width])], shape=[batch, kv_heads, group, 1, width]
    )
    keys = insert.op("Unsqueeze", [key, insert.constant([2])], shape=[batch, kv_heads, 1, slots, width])
    sizes: list[Size] = [batch, kv_heads, group, slots, width]
    terms = insert.op("Mul", [insert.cast(rows, _FLOAT), insert.cast(keys, _FLOAT)], shape=sizes)
    scores = insert.op("ReduceSum", [terms, insert.constant([-1])], {"keepdims": 0}, shape=sizes[:-1])
    return insert.op("Reshape", [scores, insert.constant([0, -1, 1, _static(slots)])], shape=[batch, heads, 1, slots])


def _static(size: object) -> int:
    """A size that reshapes can name; -1 never meets another -1 here, because caches of an engine are of fixed size."""
    return size if isinstance(size, int) else -1


def lowerings(
    fused_head: int = FUSED_HEAD, flash: bool = False, sequences: int = 1, tokens: int = 0
) -> Mapping[str, Lowering]:
    """By op. ``fused_head``: the widest head that is attended by one layer. ``flash``: wider ones have a kernel of ours.
    ``sequences`` and new ``tokens`` of each: at most, 0 for many."""
    return {
        "g4.Linear": _linear(sequences, tokens),
        "g4.RMSNorm": _rms_norm,
        "g4.RopeKeyValue": _rope_key_value,
        "g4.DualRopeAttention": _attention(fused_head, flash),
        "g4.CausalMask": _causal_mask,
        "g4.RingMask": _ring_mask,
    }
