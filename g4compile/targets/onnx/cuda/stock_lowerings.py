"""What ONNX Runtime's CUDA provider says better than an op's own body, where no kernel of ours stands beside.

The standard Attention has heads of any width and query heads that share keys there; its mask is of the activations'
dtype. A table that is looked up and multiplied with has one copy, which FusedMatMul reads as it is stored.
Source: onnxruntime, `core/providers/cuda/llm/attention.cc`, `contrib_ops/cuda/math/fused_matmul.cc`.
"""

from __future__ import annotations

import onnx_ir as ir

from g4compile.errors import Defect, SpecError
from g4compile.graph.axes import sizes_of
from g4compile.graph.build import Builder
from g4compile.graph.edit import module_of
from g4compile.graph.stage import describe
from g4compile.ops.dual_rope_attention import DualRopeAttention
from g4compile.ops.geglu import GeGLU
from g4compile.ops.linear import Linear
from g4compile.ops.transposed_mat_mul import TransposedMatMul
from g4compile.passes.legalize import Lowerings
from g4compile.targets.lowering.fixed_caches import FIXED_CACHES, norm
from g4compile.targets.lowering.heads import merge_heads, rotate, split_heads
from g4compile.targets.onnx.lower_quantized_weights import DOMAIN
from g4compile.targets.onnx.lowerings import transposed


def _linear(op: Linear, build: Builder) -> list[ir.Value]:
    weight = transposed(op.weight)
    return [_fused(op.x, op.weight, op.y, build) if weight is None else build.op("MatMul", op.x, weight)]


def _geglu(op: GeGLU, build: Builder) -> list[ir.Value]:
    return [build.op("Mul", build.op("Gelu", op.gate, approximate="tanh"), op.up)]


def _transposed_mat_mul(op: TransposedMatMul, build: Builder) -> list[ir.Value]:
    return [_fused(op.x, op.weight, op.y, build)]


def _fused(x: ir.Value, weight: ir.Value, like: ir.Value, build: Builder) -> ir.Value:
    """x weight^T, of the dtype and the sizes of ``like``."""
    build.graph.opset_imports[DOMAIN] = 1
    node = ir.node("FusedMatMul", [x, weight], {"transB": 1}, domain=DOMAIN)
    node.outputs[0].type, node.outputs[0].shape = like.type, like.shape
    return build.insert(node)[0]


def _attention(op: DualRopeAttention, build: Builder) -> list[ir.Value]:
    if op.mask is None:
        raise SpecError("attention over caches of fixed size reads a mask", where=describe(op.node))
    query = norm(split_heads(op.query, op.heads, build), op.query_norm, op.epsilon, build)
    rotated = rotate(query, op.cos, op.sin, op.rotary, build)
    mask = _in_dtype(op.mask, rotated.dtype or ir.DataType.FLOAT)
    attended = build.op("Attention", rotated, op.key, op.value, mask, scale=op.scale)
    attended.shape = ir.Shape(sizes_of(rotated))
    return [merge_heads(attended, build)]


def _in_dtype(mask: ir.Value, dtype: ir.DataType) -> ir.Value:
    """``mask`` in ``dtype``, cast once for all layers, behind what computes it."""
    for reader in mask.consumers():
        if reader.op_type == "Cast" and reader.outputs[0].dtype == dtype:
            return reader.outputs[0]
    if mask.dtype == dtype:
        return mask
    made = mask.producer()
    if made is None or made.graph is None:
        raise Defect(f"{mask.name} is computed by no node of the graph")
    cast = ir.node("Cast", [mask], {"to": int(dtype)}, name=f"{module_of(made)}/Cast")
    cast.outputs[0].type, cast.outputs[0].shape = ir.TensorType(dtype), mask.shape
    made.graph.insert_after(made, cast)
    return cast.outputs[0]


BETWEEN = frozenset({TransposedMatMul.name()})  # what passes make, and legalisation takes away
STOCK_LOWERINGS: Lowerings = {
    **FIXED_CACHES,
    DualRopeAttention: _attention,
    GeGLU: _geglu,
    Linear: _linear,
    TransposedMatMul: _transposed_mat_mul,
}
