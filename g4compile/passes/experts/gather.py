"""The experts by lookup: each token's chosen weights are gathered, multiplied and summed. No loop, no scatter.

    W = Gather (gate_up, index)   [B, S, k, 2I, H]      h = sum over H (W * x)       g, u = Split (h)
    V = Gather (down, index)      [B, S, k, H, I]       y = sum over k (weight * sum over I (V * gelu_tanh (g) * u))

A compiler that fuses gather, product and sum reads the chosen experts once and stores nothing (TensorRT does). It is for a
few tokens: without fusion, and for many, it would hold k expert matrices a token. Products are summed in float32.
"""

from __future__ import annotations

import onnx_ir as ir

from g4compile.graph import edit

_FLOAT = ir.DataType.FLOAT


def gathered_experts(node: ir.Node, insert: edit.Inserter) -> ir.Value:
    """What stands for the output of the `g4.MoEExperts` ``node``."""
    x, index, weight, gate_up, down = node.inputs
    assert x is not None and index is not None and weight is not None and gate_up is not None and down is not None
    assert x.shape is not None and index.shape is not None and gate_up.shape is not None and x.dtype is not None
    leading, (width,), choices = list(x.shape)[:-1], list(x.shape)[-1:], index.shape[-1]
    both = gate_up.shape[1]
    assert isinstance(both, int) and isinstance(width, int)
    inner = both // 2

    def product(table: ir.Value, rows: ir.Value, out: int, columns: int) -> ir.Value:
        """float32 [.., k, out] of the chosen matrices with ``rows`` [.., 1 or k, columns]."""
        stored = edit.untransposed(table)
        sizes, along, across = ([out, columns], -1, -2) if stored is None else ([columns, out], -2, -1)
        chosen = insert.op("Gather", [stored or table, index], {"axis": 0}, shape=[*leading, choices, *sizes])
        shape = [*list(rows.shape or ())[:-1], *([1, columns] if stored is None else [columns, 1])]
        lines = insert.op("Unsqueeze", [rows, insert.constant([across])], shape=shape)
        wide = [insert.cast(operand, _FLOAT) for operand in (chosen, lines)]
        terms = insert.op("Mul", wide, shape=list(chosen.shape or ()))
        sums = [terms, insert.constant([along])]
        return insert.op("ReduceSum", sums, {"keepdims": 0}, shape=[*leading, choices, out])

    rows = insert.op("Unsqueeze", [x, insert.constant([-2])], shape=[*leading, 1, width])
    halves = insert.cast(product(gate_up, rows, both, width), x.dtype)
    split = ir.node("Split", [halves], {"axis": -1, "num_outputs": 2}, num_outputs=2)
    gate, up = insert.add(split, [[*leading, choices, inner]] * 2, x.dtype)
    active = insert.op("Gelu", [gate], {"approximate": "tanh"}, shape=list(gate.shape or ()))
    hidden = insert.op("Mul", [active, up], shape=list(gate.shape or ()))
    outputs = product(down, hidden, width, inner)
    share = insert.op("Unsqueeze", [weight, insert.constant([-1])], shape=[*leading, choices, 1])
    weighted = insert.op("Mul", [outputs, share], shape=[*leading, choices, width])
    total = insert.op("ReduceSum", [weighted, insert.constant([-2])], {"keepdims": 0}, shape=list(x.shape))
    return insert.cast(total, x.dtype)
