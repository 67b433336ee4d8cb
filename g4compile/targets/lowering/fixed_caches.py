"""Masks, norms and keys for targets whose caches are of fixed size: in standard ops, without a shape that is computed.

Norms are in float32 whatever the activations are: `Gemma4RMSNorm`. Masks are additive and float32.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from g4compile.graph.axes import resize, static_size
from g4compile.graph.build import Builder
from g4compile.ops.causal_mask import CausalMask
from g4compile.ops.ring_block_mask import RingBlockMask
from g4compile.ops.ring_mask import RingMask
from g4compile.ops.rms_norm import RMSNorm
from g4compile.ops.rope_key_value import RopeKeyValue
from g4compile.passes.legalize import Lowerings
from g4compile.targets.lowering.heads import rotate, split_heads

# Of a mask that is added to scores. Finite, because a kernel may meet a tile of a row in which everything is masked,
# and far from the least float32, because kernels multiply by log2(e), which makes an infinity of -3e38, and then a NaN.
MASKED = -1.0e30
_FLOAT = ir.DataType.FLOAT


def norm(x: ir.Value, scale: ir.Value | None, epsilon: float, build: Builder) -> ir.Value:
    """In float32, scale included, then back."""
    if scale is None:
        scale = build.constant(np.ones(static_size(x, -1), np.float32), _FLOAT)
    wide = [build.cast(x, _FLOAT), build.cast(scale, _FLOAT)]
    return build.cast(build.op("RMSNormalization", *wide, axis=-1, epsilon=epsilon), x.dtype or _FLOAT)


def _rms_norm(op: RMSNorm, build: Builder) -> list[ir.Value]:
    return [norm(op.x, op.scale, op.epsilon, build)]


def _rope_key_value(op: RopeKeyValue, build: Builder) -> list[ir.Value]:
    key = norm(split_heads(op.key_in, op.kv_heads, build), op.key_norm, op.epsilon, build)
    value = norm(split_heads(op.value_in, op.kv_heads, build), None, op.epsilon, build)
    return [rotate(key, op.cos, op.sin, op.rotary, build), value]


def _additive(allowed: ir.Value, build: Builder) -> ir.Value:
    """float32 [B, 1, S, T] of what is ``allowed``, boolean [B, S, T]."""
    open_, closed = (build.constant(value, _FLOAT) for value in (0.0, MASKED))
    return build.op("Unsqueeze", build.op("Where", allowed, open_, closed), build.constant([1]))


def _causal_mask(op: CausalMask, build: Builder) -> list[ir.Value]:
    query = build.op("Unsqueeze", op.position_ids, build.constant([-1]))
    at = build.constant(np.arange(static_size(op.keys, 2), dtype=np.int64)[None, None])
    return [_additive(build.op("LessOrEqual", at, query), build)]


def _ring_mask(op: RingMask, build: Builder) -> list[ir.Value]:
    query = build.op("Unsqueeze", op.position_ids, build.constant([-1]))
    at = _slot_positions(op, build)
    causal = build.op("LessOrEqual", at, query)
    near = build.op("Greater", at, build.op("Sub", query, build.constant(op.window)))
    written = build.op("LessOrEqual", build.constant(0), at)
    seen = build.op("And", causal, near)
    return [_additive(build.op("And", seen, written), build)]


def _slot_positions(op: RingMask | RingBlockMask, build: Builder) -> ir.Value:
    """int64 [B, 1, T]: slot s holds the newest position up to the last one that is s modulo the number of slots."""
    ring = static_size(op.keys, 2)
    last = build.op("Slice", op.position_ids, *(build.constant([bound]) for bound in (-1, 2**63 - 1, 1)))
    resize(last, 1, 1)
    slots = build.constant(np.arange(ring, dtype=np.int64)[None])
    age = build.op("Mod", build.op("Sub", last, slots), build.constant(ring))
    return build.op("Unsqueeze", build.op("Sub", last, age), build.constant([1]))


def _ring_block_mask(op: RingBlockMask, build: Builder) -> list[ir.Value]:
    at, last_axis = _slot_positions(op, build), build.constant([-1])
    query, first, end = (
        build.op("Unsqueeze", value, last_axis) for value in (op.position_ids, op.block_starts, op.block_ends)
    )
    near = build.op("Greater", at, build.op("Sub", query, build.constant(op.window)))
    inside = build.op("LessOrEqual", first, at)
    seen = build.op("And", build.op("Or", near, inside), build.op("LessOrEqual", at, end))
    written = build.op("LessOrEqual", build.constant(0), at)
    return [_additive(build.op("And", seen, written), build)]


FIXED_CACHES: Lowerings = {
    RMSNorm: _rms_norm,
    RopeKeyValue: _rope_key_value,
    CausalMask: _causal_mask,
    RingMask: _ring_mask,
    RingBlockMask: _ring_block_mask,
}
