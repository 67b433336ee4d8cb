"""The experts by lookup: each token's chosen weights are gathered, multiplied and summed. No loop, no scatter.

    W = Gather (gate_up, index)   [B, S, k, 2I, H]      h = sum over H (W * x)       g, u = Split (h)
    V = Gather (down, index)      [B, S, k, H, I]       y = sum over k (weight * sum over I (V * gelu_tanh (g) * u))

A compiler that fuses gather, product and sum reads the chosen experts once and stores nothing. It is for a few tokens:
without fusion, and for many, it would hold k expert matrices per token. Products are summed in float32.
"""

from __future__ import annotations

import onnx_ir as ir

from g4compile.graph.build import Builder
from g4compile.graph.edit import untransposed
from g4compile.ops.moe_experts import MoEExperts

_FLOAT = ir.DataType.FLOAT


def gathered_experts(node: MoEExperts, build: Builder) -> ir.Value:
    """What stands for the output of ``node``."""

    def product(table: ir.Value, rows: ir.Value) -> ir.Value:
        """float32 [.., k, out] of the chosen matrices with ``rows`` [.., 1 or k, columns]."""
        stored = untransposed(table)
        along, across = (-1, -2) if stored is None else (-2, -1)
        chosen = build.op("Gather", stored or table, node.index, axis=0)
        lines = build.op("Unsqueeze", rows, build.constant([across]))
        terms = build.op("Mul", build.cast(chosen, _FLOAT), build.cast(lines, _FLOAT))
        return build.op("ReduceSum", terms, build.constant([along]), keepdims=0)

    dtype = node.x.dtype or _FLOAT
    rows = build.op("Unsqueeze", node.x, build.constant([-2]))
    halves = build.cast(product(node.gate_up, rows), dtype)
    gate, up = build.op_with_outputs(2, "Split", halves, axis=-1, num_outputs=2)
    hidden = build.op("Mul", build.op("Gelu", gate, approximate="tanh"), up)
    outputs = product(node.down, hidden)
    weighted = build.op("Mul", outputs, build.op("Unsqueeze", node.weight, build.constant([-1])))
    total = build.op("ReduceSum", weighted, build.constant([-2]), keepdims=0)
    return build.cast(total, dtype)
