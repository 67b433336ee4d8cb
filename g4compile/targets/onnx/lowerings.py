"""What ONNX Runtime's CPU provider says better than an op's own body: ops of ours as standard ops.

Chosen by measurement on ONNX Runtime 1.32: the standard Attention op with one additive mask per step is faster than the
contributed GroupQueryAttention in decode where query heads are many per KV head.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from g4compile.graph.axes import static_size
from g4compile.graph.build import Builder
from g4compile.ops.axial_rope import AxialRope
from g4compile.ops.dual_rope_attention import DualRopeAttention
from g4compile.ops.linear import Linear
from g4compile.ops.rms_norm import RMSNorm
from g4compile.ops.rope_key_value import RopeKeyValue
from g4compile.passes.legalize import Lowerings, inline_body
from g4compile.targets.lowering.heads import merge_heads, rotate, split_heads
from g4compile.targets.onnx.head_fold import fold_heads, fold_of, unfold_heads
from g4compile.targets.onnx.normed_heads import normed_key_value
from g4compile.weights.references import CheckpointTensor


def _linear(op: Linear, build: Builder) -> list[ir.Value]:
    """A weight that one product reads is stored transposed, as MatMul wants it; a shared one (the embedding tied to
    the head) is read as it is by Gemm, so that there is one copy of it."""
    weight, columns = op.weight, transposed(op.weight)
    if columns is not None:
        return [build.op("MatMul", op.x, columns)]
    rows = build.op("Reshape", op.x, build.constant([-1, static_size(weight, 1)]))
    product = build.op("Gemm", rows, weight, transB=1)
    leading = build.op("Shape", op.x, start=0, end=len(op.x.shape or ()) - 1)
    target = build.op("Concat", leading, build.constant([static_size(weight, 0)]), axis=0)
    y = build.op("Reshape", product, target)
    y.shape = op.y.shape
    return [y]


def transposed(weight: ir.Value) -> ir.Value | None:
    """``weight`` [N, K], stored as [K, N] from now on; None where others read it too, or it is no tensor of a
    checkpoint."""
    stored = weight.const_value
    if len(weight.uses()) != 1 or not isinstance(stored, CheckpointTensor):
        return None
    columns = stored.transposed()
    weight.const_value, weight.shape = columns, ir.Shape(columns.shape)
    return weight


def _norm(x: ir.Value, scale: ir.Value | None, epsilon: float, build: Builder) -> ir.Value:
    """RMSNormalization over the last axis; a scale-free norm gets a scale of ones."""
    if scale is None:
        scale = build.constant(np.ones(static_size(x, -1), np.float32), ir.DataType.FLOAT)
    return build.op("RMSNormalization", x, scale, axis=-1, epsilon=epsilon, stash_type=1)


def _rms_norm(op: RMSNorm, build: Builder) -> list[ir.Value]:
    return [_norm(op.x, op.scale, op.epsilon, build)]


def _rope_key_value(op: RopeKeyValue, build: Builder) -> list[ir.Value]:
    key = _norm(split_heads(op.key_in, op.kv_heads, build), op.key_norm, op.epsilon, build)
    rotated = rotate(key, op.cos, op.sin, op.rotary, build)
    return [rotated, _norm(split_heads(op.value_in, op.kv_heads, build), None, op.epsilon, build)]


def rotated_queries(op: DualRopeAttention, build: Builder) -> ir.Value:
    """Queries [B, N, S, D] as attention reads them."""
    normed = _norm(split_heads(op.query, op.heads, build), op.query_norm, op.epsilon, build)
    return rotate(normed, op.cos, op.sin, op.rotary, build)


def _dual_rope_attention(op: DualRopeAttention, build: Builder) -> list[ir.Value]:
    mask = op.mask
    if mask is None:
        return inline_body(op, build)
    rotated = rotated_queries(op, build)
    fold, folded = fold_of(op.heads, static_size(op.key, 1), op.window), rotated
    if fold > 1:
        folded, mask = fold_heads(rotated, mask, op.heads, fold, build)
    attended = build.op("Attention", folded, op.key, op.value, mask, scale=op.scale)
    if fold > 1:
        attended = unfold_heads(attended, rotated, build)
    return [merge_heads(attended, build)]


def _axial_rope(op: AxialRope, build: Builder) -> list[ir.Value]:
    """As the rotation of a sequence of two per patch: each half of a head is a head at a position of its own."""
    heads, width = static_size(op.x, -2), static_size(op.x, -1)
    halves = build.op("Reshape", op.x, build.constant([-1, heads, 2, width // 2]))
    angles = (build.op("Reshape", one, build.constant([-1, 2, width // 4])) for one in (op.cos, op.sin))
    turned = build.op("RotaryEmbedding", halves, *angles, interleaved=0)
    y = build.op("Reshape", turned, build.op("Shape", op.x))
    y.shape = op.y.shape
    return [y]


LOWERINGS: Lowerings = {
    AxialRope: _axial_rope,
    Linear: _linear,
    RMSNorm: _rms_norm,
    RopeKeyValue: _rope_key_value,
    DualRopeAttention: _dual_rope_attention,
}
G4OPS_LOWERINGS: Lowerings = {**LOWERINGS, RopeKeyValue: normed_key_value}  # with the library libg4ops
