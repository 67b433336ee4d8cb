"""The experts as a loop over those that are hit: each gets its tokens once and adds its products back.

Experts run in ascending order, as in the model's own loop, so sums are in the same order. Only experts that are hit are
read; the weights stay one stacked tensor. Source: transformers `Gemma4TextExperts.forward`.
"""

from __future__ import annotations

import onnx_ir as ir

from g4compile.graph import edit

_FLOAT, _INT, _BOOL = (ir.TensorType(dtype) for dtype in (ir.DataType.FLOAT, ir.DataType.INT64, ir.DataType.BOOL))


def expert_loop(node: ir.Node, insert: edit.Inserter) -> ir.Value:
    """What stands for the output of the `g4.MoEExperts` ``node``."""
    x, index, weight, gate_up, down = node.inputs
    assert (
        x is not None and x.shape is not None and index is not None and index.shape is not None and weight is not None
    )
    width, choices = x.shape[-1], index.shape[-1]
    assert isinstance(width, int) and isinstance(choices, int)
    rows = insert.op("Reshape", [x, insert.constant([-1, width])], shape=[None, width])
    chosen = insert.op("Reshape", [index, insert.constant([-1, choices])], shape=[None, choices])
    shares = insert.op("Reshape", [weight, insert.constant([-1, choices])], shape=[None, choices])
    hit = insert.op("Unique", [chosen], {"sorted": 1}, shape=[None])
    count = insert.op(
        "Squeeze", [insert.op("Shape", [hit], shape=[1], dtype=ir.DataType.INT64), insert.constant([0])], shape=[]
    )
    zeros = insert.op("Mul", [rows, insert.constant(0.0, ir.DataType.FLOAT)], shape=[None, width])
    body = _expert(insert, rows, chosen, shares, hit, gate_up, down)
    always = insert.constant(True, ir.DataType.BOOL)
    total = insert.op("Loop", [count, always, zeros], {"body": body}, shape=[None, width], dtype=x.dtype)
    target = insert.op("Shape", [x], shape=[len(x.shape)], dtype=ir.DataType.INT64)
    return insert.op("Reshape", [total, target], shape=list(x.shape))


def _expert(
    insert: edit.Inserter,
    rows: ir.Value,
    chosen: ir.Value,
    shares: ir.Value,
    hit: ir.Value,
    gate_up: ir.Value | None,
    down: ir.Value | None,
) -> ir.Graph:
    """The loop body: one expert. Everything but the running sum is read from the graph around it."""
    step = ir.Value(name="step", shape=ir.Shape([]), type=_INT)
    go = ir.Value(name="go", shape=ir.Shape([]), type=_BOOL)
    running = ir.Value(name="running", shape=rows.shape, type=_FLOAT)
    nodes: list[ir.Node] = []

    def op(op_type: str, inputs: list[ir.Value | None], count: int = 1, **attributes: object) -> list[ir.Value]:
        node = ir.node(
            op_type,
            inputs,
            attributes,
            num_outputs=count,
            name=f"{edit.module_of(insert.anchor)}/expert/{op_type}_{len(nodes)}",
        )
        nodes.append(node)
        return list(node.outputs)

    constant = insert.constant
    (expert,) = op("Gather", [hit, step], axis=0)
    (mine,) = op("Equal", [chosen, expert])
    (at,) = op("NonZero", [mine])
    (token,) = op("Gather", [at, constant(0)], axis=0)
    (gathered,) = op("Gather", [rows, token], axis=0)
    (first,) = op("Gather", [gate_up, expert], axis=0)
    (both,) = op("Gemm", [gathered, first], transB=1)
    gate, up = op("Split", [both], count=2, axis=-1, num_outputs=2)
    (active,) = op("Gelu", [gate], approximate="tanh")
    (hidden,) = op("Mul", [active, up])
    (second,) = op("Gather", [down, expert], axis=0)
    (product,) = op("Gemm", [hidden, second], transB=1)
    (pairs,) = op("Transpose", [at], perm=[1, 0])
    (share,) = op("GatherND", [shares, pairs])
    (column,) = op("Unsqueeze", [share, constant([-1])])
    (weighted,) = op("Mul", [product, column])
    (targets,) = op("Unsqueeze", [token, constant([-1])])
    (total,) = op("ScatterND", [running, targets, weighted], reduction="add")
    (still,) = op("Identity", [go])
    total.shape, total.type, still.shape, still.type = rows.shape, _FLOAT, ir.Shape([]), _BOOL
    return ir.Graph([step, go, running], [still, total], nodes=nodes, name="expert")
