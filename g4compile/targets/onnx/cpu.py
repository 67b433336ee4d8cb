"""The `onnx-cpu` target: standard ONNX (opset 24), float32 activations, for ONNX Runtime's CPU provider.

Chosen by measurement on ONNX Runtime 1.32: the standard Attention op with one additive mask a step beats the
contributed GroupQueryAttention in decode where query heads are many to a KV head, and TensorScatter writes a
bound buffer in place. No fp16 activations: half of the CPU kernels lack them.
"""

from __future__ import annotations

from functools import partial

import onnx_ir as ir

from g4compile.graph.edit import Inserter
from g4compile.model.config import TextFacts
from g4compile.passes.canonicalize_constants import CanonicalizeConstants
from g4compile.passes.canonicalize_dead_code import CanonicalizeDeadCode
from g4compile.passes.legalize import Legalize, inline_body
from g4compile.passes.lower_moe_to_gather_scatter import LowerMoEToGatherScatter
from g4compile.pipeline import Phase
from g4compile.targets.base import REWIND, Options, Target
from g4compile.targets.lowering.heads import merge_heads, rotate, split_heads
from g4compile.targets.onnx.bundle import check_options, emit_with
from g4compile.targets.onnx.head_fold import fold_heads, fold_of, unfold_heads
from g4compile.targets.onnx.lower_quantized_weights import LowerQuantizedWeights
from g4compile.targets.phases import frontend
from g4compile.weights.references import CheckpointTensor

LEGAL = frozenset(
    {
        "Abs",
        "Add",
        "And",
        "Attention",
        "Cast",
        "CastLike",
        "Clip",
        "Concat",
        "Cos",
        "Div",
        "Equal",
        "Expand",
        "Gather",
        "GatherND",
        "Gelu",
        "Gemm",
        "Greater",
        "Identity",
        "LessOrEqual",
        "Loop",
        "MatMul",
        "Mod",
        "Mul",
        "Neg",
    }
    | {
        "NonZero",
        "Or",
        "RMSNormalization",
        "Range",
        "ReduceMax",
        "ReduceSum",
        "Reshape",
        "RotaryEmbedding",
        "Round",
        "ScatterND",
        "Shape",
        "Sin",
        "Slice",
        "Softmax",
        "Split",
        "Squeeze",
        "Sub",
        "Tanh",
        "TensorScatter",
    }
    | {"TopK", "Transpose", "Unique", "Unsqueeze", "Where"}
    | {"com.microsoft.MatMulNBits", "com.microsoft.GatherBlockQuantized"}
)
DTYPES = frozenset({ir.DataType.FLOAT, ir.DataType.INT64, ir.DataType.BOOL, ir.DataType.INT8})


def _linear(node: ir.Node, insert: Inserter) -> list[ir.Value]:
    """x W^T. The weight is stored transposed, as MatMul wants it; one that others read too (a tied embedding)
    is read as it is by Gemm, so that there is one copy of it."""
    x, weight = node.inputs
    assert (
        x is not None
        and x.shape is not None
        and weight is not None
        and weight.shape is not None
        and node.outputs[0].shape is not None
    )
    shape = list(node.outputs[0].shape)
    stored = weight.const_value
    if len(weight.uses()) == 1 and isinstance(stored, CheckpointTensor):
        transposed = stored.transposed()
        weight.const_value, weight.shape = transposed, ir.Shape(transposed.shape)
        return [insert.op("MatMul", [x, weight], shape=shape)]
    width, out = weight.shape[1], weight.shape[0]
    assert isinstance(width, int) and isinstance(out, int)
    rows = insert.op("Reshape", [x, insert.constant([-1, width])], shape=["rows", width])
    product = insert.op("Gemm", [rows, weight], {"transB": 1}, shape=["rows", out])
    leading = insert.op(
        "Shape", [x], {"start": 0, "end": len(x.shape) - 1}, shape=[len(x.shape) - 1], dtype=ir.DataType.INT64
    )
    target = insert.op("Concat", [leading, insert.constant([out])], {"axis": 0}, shape=[len(x.shape)])
    return [insert.op("Reshape", [product, target], shape=shape)]


def _norm(x: ir.Value, scale: ir.Value | None, epsilon: float, insert: Inserter) -> ir.Value:
    """RMSNormalization over the last axis; a scale-free norm gets a scale of ones."""
    assert x.shape is not None and isinstance(x.shape[-1], int)
    if scale is None:
        import numpy as np

        scale = insert.constant(np.ones(x.shape[-1], np.float32), ir.DataType.FLOAT)
    return insert.op(
        "RMSNormalization", [x, scale], {"axis": -1, "epsilon": epsilon, "stash_type": 1}, shape=list(x.shape)
    )


def _rms_norm(node: ir.Node, insert: Inserter) -> list[ir.Value]:
    x, scale = node.inputs[0], node.inputs[1] if len(node.inputs) > 1 else None
    assert x is not None
    return [_norm(x, scale, node.attributes["epsilon"].as_float(), insert)]


def _rope_key_value(node: ir.Node, insert: Inserter) -> list[ir.Value]:
    key_in, value_in, key_norm, cos, sin = node.inputs
    assert key_in is not None and value_in is not None
    heads, epsilon = node.attributes["kv_heads"].as_int(), node.attributes["epsilon"].as_float()
    rotary = node.attributes["rotary"].as_int()
    key = rotate(_norm(split_heads(key_in, heads, insert), key_norm, epsilon, insert), cos, sin, rotary, insert)
    return [key, _norm(split_heads(value_in, heads, insert), None, epsilon, insert)]


def _dual_rope_attention(node: ir.Node, insert: Inserter) -> list[ir.Value]:
    if node.overload == "no_mask":
        return inline_body(node, insert)
    query, query_norm, cos, sin, key, value, mask = node.inputs
    assert query is not None and query.shape is not None
    heads = node.attributes["heads"].as_int()
    normed = _norm(split_heads(query, heads, insert), query_norm, node.attributes["epsilon"].as_float(), insert)
    rotated = rotate(normed, cos, sin, node.attributes["rotary"].as_int(), insert)
    assert rotated.shape is not None and key is not None and mask is not None
    kv_heads = key.shape[1] if key.shape is not None else heads
    assert isinstance(kv_heads, int)
    fold, folded = fold_of(heads, kv_heads, node.attributes["window"].as_int()), rotated
    if fold > 1:
        folded, mask = fold_heads(rotated, mask, heads, fold, insert)
    attended = insert.op(
        "Attention",
        [folded, key, value, mask],
        {"scale": node.attributes["scale"].as_float()},
        shape=list(folded.shape or ()),
    )
    if fold > 1:
        attended = unfold_heads(attended, rotated, insert)
    return [merge_heads(attended, insert)]


def pipeline(target: str, facts: TextFacts, options: Options) -> tuple[Phase, ...]:
    """[traced] -> [legal], for every target that runs these ops."""
    lower = LowerMoEToGatherScatter(layers=len(facts.layers) if facts.moe else 0)
    passes = (
        lower,
        LowerQuantizedWeights(),
        Legalize(target, LEGAL, LOWERINGS, DTYPES),
        CanonicalizeConstants(),
        CanonicalizeDeadCode(),
    )
    phases = frontend(facts, REWIND, options.shared_tail, options.recipe or options.weights, options.kv)
    return (*phases, Phase(f"legal:{target}", passes, LEGAL))


LOWERINGS = {
    "g4.Linear": _linear,
    "g4.RMSNorm": _rms_norm,
    "g4.RopeKeyValue": _rope_key_value,
    "g4.DualRopeAttention": _dual_rope_attention,
}


def onnx_target(name: str) -> Target:
    """A target that runs these ops, under its own name."""
    phases = partial(pipeline, name)
    return Target(name, LEGAL, DTYPES, phases, emit_with(phases), LOWERINGS, check=check_options)


ONNX_CPU = onnx_target("onnx-cpu")
