"""All experts on all tokens, weighted by zero where a token did not choose one: for targets without loops or plugins.

    share = sum over k (OneHot (index) * weight)     [B, S, E]
    h     = x gate_up^T                              [B, E, S, 2I]     g, u = Split (h)
    y     = sum over E (share * (gelu_tanh (g) * u) down^T)

E / k times the arithmetic that is needed, and [E, S, H] numbers in between: for chunks of at most 256 tokens.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from g4compile.graph import edit

_FLOAT = ir.DataType.FLOAT


def dense_experts(node: ir.Node, insert: edit.Inserter) -> ir.Value:
    """What stands for the output of the `g4.MoEExperts` ``node``."""
    x, index, weight, gate_up, down = node.inputs
    assert x is not None and index is not None and weight is not None and gate_up is not None and down is not None
    assert x.shape is not None and index.shape is not None and gate_up.shape is not None and x.dtype is not None
    batch, new, width = list(x.shape)
    experts, both = gate_up.shape[0], gate_up.shape[1]
    assert isinstance(both, int) and isinstance(experts, int)
    inner = both // 2
    values = insert.constant(np.array([0, 1], np.float32), _FLOAT)
    choices = index.shape[-1]
    hot = insert.op(
        "OneHot",
        [index, insert.constant(experts), values],
        {"axis": -1},
        shape=[batch, new, choices, experts],
        dtype=_FLOAT,
    )
    column = insert.op("Unsqueeze", [weight, insert.constant([-1])], shape=[batch, new, choices, 1])
    weighted = insert.op("Mul", [hot, column], shape=[batch, new, choices, experts])
    share = insert.op("ReduceSum", [weighted, insert.constant([-2])], {"keepdims": 0}, shape=[batch, new, experts])
    by_expert = insert.op("Transpose", [share], {"perm": [0, 2, 1]}, shape=[batch, experts, new])
    share_column = insert.op("Unsqueeze", [by_expert, insert.constant([-1])], shape=[batch, experts, new, 1])
    rows = insert.op("Unsqueeze", [x, insert.constant([1])], shape=[batch, 1, new, width])
    halves = transposed_product(insert, rows, gate_up, [batch, experts, new, both])
    split = ir.node("Split", [halves], {"axis": -1, "num_outputs": 2}, num_outputs=2)
    gate, up = insert.add(split, [[batch, experts, new, inner]] * 2, x.dtype)
    active = insert.op("Gelu", [gate], {"approximate": "tanh"}, shape=list(gate.shape or ()))
    hidden = insert.op("Mul", [active, up], shape=list(gate.shape or ()))
    outputs = transposed_product(insert, hidden, down, [batch, experts, new, width])
    terms = insert.op("Mul", [insert.cast(outputs, _FLOAT), share_column], shape=[batch, experts, new, width])
    total = insert.op("ReduceSum", [terms, insert.constant([1])], {"keepdims": 0}, shape=list(x.shape))
    return insert.cast(total, x.dtype)


def transposed_product(insert: edit.Inserter, x: ir.Value, weight: ir.Value, shape: list[edit.Size]) -> ir.Value:
    """x weight^T over the last two axes: one op, so that targets read the weight as it is stored, turned or not."""
    stored = edit.untransposed(weight)
    if stored is not None:
        return insert.op("MatMul", [x, stored], shape=shape)
    insert.graph.opset_imports["com.microsoft"] = 1
    attributes = [ir.AttrInt64("transB", 1)]
    (product,) = insert.node("com.microsoft", "FusedMatMul", [x, weight], attributes, "", 1)
    product.shape, product.type = ir.Shape(shape), x.type
    return product
