"""The experts as a loop over those that are hit: each gets its tokens once and adds its products back.

Experts run in ascending order, as in the model's own loop, so sums are in the same order. Only experts that are hit are
read; the weights stay one stacked tensor. Source: transformers `Gemma4TextExperts.forward`.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from g4compile.graph.axes import static_size
from g4compile.graph.build import Builder
from g4compile.graph.edit import module_of
from g4compile.ops.moe_experts import MoEExperts

_FLOAT, _INT, _BOOL = (ir.TensorType(dtype) for dtype in (ir.DataType.FLOAT, ir.DataType.INT64, ir.DataType.BOOL))


def expert_loop(node: MoEExperts, build: Builder) -> ir.Value:
    """What stands for the output of ``node``."""
    width, choices = static_size(node.x, -1), static_size(node.index, -1)
    rows = build.op("Reshape", node.x, build.constant([-1, width]))
    chosen = build.op("Reshape", node.index, build.constant([-1, choices]))
    shares = build.op("Reshape", node.weight, build.constant([-1, choices]))
    hit = build.op("Unique", chosen, sorted=1)
    count = build.op("Squeeze", build.op("Shape", hit), build.constant([0]))
    zeros = build.op("Mul", rows, build.constant(0.0, ir.DataType.FLOAT))
    body = _expert(build, rows, _Routed(chosen, shares, hit), node)
    always = build.constant(True, ir.DataType.BOOL)
    loop = ir.node("Loop", [count, always, zeros], {"body": body})
    loop.outputs[0].shape, loop.outputs[0].type = rows.shape, rows.type
    (total,) = build.insert(loop)
    joined = build.op("Reshape", total, build.op("Shape", node.x))
    joined.shape = node.x.shape
    return joined


@dataclass(frozen=True)
class _Routed:
    """``chosen`` experts and their ``shares`` by token [rows, k], and the experts that are ``hit``, each once."""

    chosen: ir.Value
    shares: ir.Value
    hit: ir.Value


def _expert(build: Builder, rows: ir.Value, routed: _Routed, experts: MoEExperts) -> ir.Graph:
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
            name=f"{module_of(build.anchor)}/expert/{op_type}_{len(nodes)}",
        )
        nodes.append(node)
        return list(node.outputs)

    constant = build.constant
    (expert,) = op("Gather", [routed.hit, step], axis=0)
    (mine,) = op("Equal", [routed.chosen, expert])
    (at,) = op("NonZero", [mine])
    (token,) = op("Gather", [at, constant(0)], axis=0)
    (gathered,) = op("Gather", [rows, token], axis=0)
    (first,) = op("Gather", [experts.gate_up, expert], axis=0)
    (both,) = op("Gemm", [gathered, first], transB=1)
    gate, up = op("Split", [both], count=2, axis=-1, num_outputs=2)
    (active,) = op("Gelu", [gate], approximate="tanh")
    (hidden,) = op("Mul", [active, up])
    (second,) = op("Gather", [experts.down, expert], axis=0)
    (product,) = op("Gemm", [hidden, second], transB=1)
    (pairs,) = op("Transpose", [at], perm=[1, 0])
    (share,) = op("GatherND", [routed.shares, pairs])
    (column,) = op("Unsqueeze", [share, constant([-1])])
    (weighted,) = op("Mul", [product, column])
    (targets,) = op("Unsqueeze", [token, constant([-1])])
    (total,) = op("ScatterND", [running, targets, weighted], reduction="add")
    (still,) = op("Identity", [go])
    total.shape, total.type, still.shape, still.type = rows.shape, _FLOAT, ir.Shape([]), _BOOL
    return ir.Graph([step, go, running], [still, total], nodes=nodes, name="expert")
