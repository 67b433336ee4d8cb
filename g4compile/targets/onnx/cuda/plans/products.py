"""Plans of products: one row by itself, few rows in small tiles, many in large ones.

One row is normed by every program for itself, which costs less than a launch. More rows are normed once.
"""

from __future__ import annotations

import onnx_ir as ir

from g4compile.targets.kernels import product_kernels as kernels
from g4compile.targets.kernels.product_kernels import GEGLU, Matrices, Stream
from g4compile.targets.kernels.row_kernels import stream_rows
from g4compile.targets.onnx.cuda.plan import NULL, Plan
from g4compile.targets.onnx.cuda.plans.operands import has, last, matrices, sizes, value

_ACTIVATIONS = {"none": kernels.NONE, "geglu": GEGLU, "gate": kernels.GATE, "softcap": kernels.SOFTCAP}
_WEIGHTS, _SCALES, _GATE = 5, 8, 11  # inputs of NormProduct
# Rows, and how many a tile has.
TILES = (("r<=16", 16), ("r<=32", 32), ("r<=64", 64), ("*", 128))
ONE = "r<=1"  # or none: a grid of 0 is not launched


def norm_product(node: ir.Node) -> Plan:
    """Of NormProduct, and of NormLogits, whose y is float32."""
    columns, wide = last(node, 0), node.op_type == "NormLogits"
    activation, epsilon = _ACTIVATIONS[value(node, "activation")], value(node, "epsilon")
    cap = value(node, "cap") if activation == kernels.SOFTCAP else 0.0
    weights = matrices(node, _WEIGHTS, columns, 3)
    stream = Stream(adds=has(node, 1), scaled=has(node, 3), normed=has(node, 4))
    made = len(node.outputs) > 1 and (stream.adds or stream.scaled)
    gate_row, gate_at = _gate(node) if activation == kernels.GATE else (0, 0)
    plan = Plan()
    conditions = (ONE, *(condition for condition, _ in TILES))
    for condition in conditions:
        plan.size(condition, 0, "i0.0", "i0.1", _width(weights, activation))
        if len(node.outputs) > 1:
            plan.size(condition, 1, *(("i0.0", "i0.1", columns) if made else ()))
        if len(node.outputs) > 2:
            plan.size(condition, 2, *(("i0.0", "i0.1", columns) if condition != ONE else ()))
    before = [f"i{index}" for index in range(5)]
    operands = [f"i{index}" for index in range(_WEIGHTS, _GATE + 1)]
    stream_out = "o1" if made else "i0"  # not written where nothing is added
    one = kernels.product_one(weights, activation, stream, wide, cap, epsilon)
    plan.launch(ONE, one, *before, *operands, NULL, "o0", stream_out, *weights.integers, gate_at, "r")
    rows = stream_rows(columns, stream, epsilon)
    for condition, tile in TILES:
        many = kernels.product_rows(weights, activation, tile, wide, cap)
        plan.launch(condition, rows, *before, stream_out, "o2", columns, "r")
        plan.launch(condition, many, "o2", *operands, NULL, NULL, "o0", *weights.integers, "r", gate_row, gate_at, 0)
    return plan


def product(node: ir.Node) -> Plan:
    columns = last(node, 0)
    weights = matrices(node, 1, columns, 3)
    operands = [f"i{index}" if has(node, index) else NULL for index in range(1, 7)]
    plan = Plan()
    one = kernels.product_one(weights, kernels.NONE, None, False, 0.0, 0.0)
    nothing = [NULL] * 4
    plan.size(ONE, 0, "i0.0", "i0.1", _width(weights, kernels.NONE))
    plan.launch(ONE, one, "i0", *nothing, *operands, NULL, NULL, "o0", NULL, *weights.integers, 0, "r")
    for condition, tile in TILES:
        many = kernels.product_rows(weights, kernels.NONE, tile, False, 0.0)
        plan.size(condition, 0, "i0.0", "i0.1", _width(weights, kernels.NONE))
        plan.launch(condition, many, "i0", *operands, *[NULL] * 3, "o0", *weights.integers, "r", 0, 0, 0)
    return plan


def _width(weights: Matrices, activation: int) -> int:
    return weights.sizes[0] if activation == GEGLU else sum(weights.sizes)


def _gate(node: ir.Node) -> tuple[int, int]:
    """Numbers of a row of the gate [B, S, L, D], and where those of the layer begin."""
    _, _, layers, width = sizes(node, _GATE)
    return layers * width, value(node, "layer") * width
