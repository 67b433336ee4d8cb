"""All experts on all tokens, weighted by zero where a token did not choose one: for targets without loops or kernels of
ours.

    share = sum over k (OneHot (index) * weight)     [B, S, E]
    h     = x gate_up^T                              [B, E, S, 2I]     g, u = Split (h)
    y     = sum over E (share * (gelu_tanh (g) * u) down^T)

E / k times the arithmetic that is needed, and [E, S, H] numbers in between: for chunks of at most 256 tokens.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from g4compile.graph.axes import static_size
from g4compile.graph.build import Builder
from g4compile.graph.edit import untransposed
from g4compile.ops.moe_experts import MoEExperts
from g4compile.ops.transposed_mat_mul import TransposedMatMul

_FLOAT = ir.DataType.FLOAT


def dense_experts(node: MoEExperts, build: Builder) -> ir.Value:
    """What stands for the output of ``node``."""
    ends = build.constant(np.array([0, 1], np.float32), _FLOAT)
    hot = build.op("OneHot", node.index, build.constant(static_size(node.gate_up, 0)), ends, axis=-1)
    weighted = build.op("Mul", hot, build.op("Unsqueeze", node.weight, build.constant([-1])))
    share = build.op("ReduceSum", weighted, build.constant([-2]), keepdims=0)
    by_expert = build.op("Transpose", share, perm=[0, 2, 1])
    share_column = build.op("Unsqueeze", by_expert, build.constant([-1]))
    rows = build.op("Unsqueeze", node.x, build.constant([1]))
    halves = transposed_product(build, rows, node.gate_up)
    gate, up = build.op_with_outputs(2, "Split", halves, axis=-1, num_outputs=2)
    hidden = build.op("Mul", build.op("Gelu", gate, approximate="tanh"), up)
    outputs = transposed_product(build, hidden, node.down)
    terms = build.op("Mul", build.cast(outputs, _FLOAT), share_column)
    total = build.op("ReduceSum", terms, build.constant([1]), keepdims=0)
    return build.cast(total, node.x.dtype or _FLOAT)


def transposed_product(build: Builder, x: ir.Value, weight: ir.Value) -> ir.Value:
    """x weight^T over the last two axes; a weight that is a transpose already is read as it was before."""
    stored = untransposed(weight)
    return TransposedMatMul.insert(build, x, weight) if stored is None else build.op("MatMul", x, stored)
