"""What TensorRT layers say better than an op's own body: g4 ops as the standard ops that `layers.py` emits.

Norms are in float32 whatever the activations are, products in the activations' dtype. Attention stands in
`attention.py` and `relative.py`.
"""

from __future__ import annotations

import onnx_ir as ir

from g4compile.graph.axes import sizes_of, static_size
from g4compile.graph.build import Builder
from g4compile.ops.axial_rope import AxialRope
from g4compile.ops.bidirectional_attention import BidirectionalAttention
from g4compile.ops.dual_rope_attention import DualRopeAttention
from g4compile.ops.linear import Linear
from g4compile.ops.relative_attention import RelativeAttention
from g4compile.passes.experts.dense import transposed_product
from g4compile.passes.legalize import Lowering, Lowerings
from g4compile.targets.lowering.fixed_caches import FIXED_CACHES
from g4compile.targets.tensorrt.attention import attention, bidirectional
from g4compile.targets.tensorrt.attention_forms import FusedLayer
from g4compile.targets.tensorrt.relative import relative_attention

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


def _axial_rope(op: AxialRope, build: Builder) -> list[ir.Value]:
    """As the rotation of a sequence of two per patch: each half of a head is a head at a position of its own."""
    batch, heads, width = (static_size(op.x, axis) for axis in (0, -2, -1))
    halves = build.op("Reshape", op.x, build.constant([-1, heads, 2, width // 2]))
    angles = (build.op("Reshape", one, build.constant([-1, 2, width // 4])) for one in (op.cos, op.sin))
    turned = build.op("RotaryEmbedding", halves, *angles, interleaved=0)
    y = build.op("Reshape", turned, build.constant([batch, -1, heads, width]))
    y.shape = op.x.shape
    return [y]


def lowerings(form: str, fused: FusedLayer, flash: bool = False, sequences: int = 1, tokens: int = 0) -> Lowerings:
    """By op. ``form`` of the decoder's attention, and what the ``fused`` layer takes. ``flash``: heads wider than that
    have a kernel of ours. ``sequences`` and new ``tokens`` of each: at most, 0 for many."""
    return {
        **FIXED_CACHES,
        Linear: _linear(sequences, tokens),
        AxialRope: _axial_rope,
        BidirectionalAttention: bidirectional(fused.head),
        DualRopeAttention: attention(form, fused, flash),
        RelativeAttention: relative_attention,
    }
