"""Products and lookups of codes as ops of libg4ops, which reads panels of rows where they are mapped.

    g4.QLinear (x, codes, scales, zero_points) -> float32 [.., N]     x float32 [.., K], or packed
    g4.QuantizeActivations (x) -> uint8 [.., bytes]                   x packed once for all products that read it
    g4.QGather (ids, codes, scales, zero_points) -> float32 [.., K]

Experts are no operands of these: they are one op (`passes/experts/native.py`), or a loop that looks a matrix up by
expert, in ONNX Runtime's form.
Source: `native/README.md` (the ops), `native/LAYOUT.md` (the bytes, and every rounding).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from g4compile.graph.build import Builder
from g4compile.graph.stage import op_name
from g4compile.ops.dequantize import Dequantize
from g4compile.ops.linear import Linear
from g4compile.ops.schema import DOMAIN
from g4compile.passes.panels import matrix_of, stand_in_panels

_EXACT, _INT8 = "float32", "int8"
_ACTIVATION_BLOCK = 0  # one scale for each row of activations


def reads(dequantize: Dequantize) -> bool:
    """Whether the library reads this weight. One that is only looked up is better kept by rows: a row of a panel lies
    among those of 31 others, all of which come from the disk with it."""
    multiplied = any(Linear.matches(node) for node, _ in dequantize.weight.uses())
    return multiplied and stand_in_panels(dequantize)


def product(dequantize: Dequantize, linear: Linear) -> ir.Node:
    """``linear`` over the panels that `passes/panels.py` made."""
    activations = {
        "activations": _INT8 if dequantize.activation_bits == 8 else _EXACT,
        "activation_block": _ACTIVATION_BLOCK,
    }
    operands = [linear.x, *dequantize.inputs.values()]
    return ir.node("QLinear", operands, {**_format(dequantize), **activations}, domain=DOMAIN)


def lookup(dequantize: Dequantize, gather: ir.Node) -> list[ir.Node]:
    """``gather`` over the panels that `passes/panels.py` made."""
    operands = [gather.inputs[1], *dequantize.inputs.values()]
    return [ir.node("QGather", operands, _format(dequantize), domain=DOMAIN)]


def rounds_activations(node: ir.Node) -> bool:
    """Whether ``node`` is a product, or the experts, of the library that round their operand to 8 bits."""
    rounding = op_name(node) in ("g4.QLinear", "g4.QGeGLU", "g4.QMoEExperts")
    return rounding and node.attributes["activations"].as_string() == _INT8


def share_activations(products: Sequence[ir.Node]) -> None:
    """Round what several of ``products`` read once, in front of the first of them."""
    readers: dict[ir.Value | None, list[ir.Node]] = {}
    for node in filter(rounds_activations, products):
        readers.setdefault(node.inputs[0], []).append(node)
    for x, nodes in readers.items():
        graph = nodes[0].graph
        if len(nodes) > 1 and isinstance(graph, ir.Graph):
            first = next(node for node in graph if node in nodes)
            attributes = {"K": nodes[0].attributes["K"].as_int(), "activation_block": _ACTIVATION_BLOCK}
            packed = ir.node("QuantizeActivations", [x], attributes, domain=DOMAIN)
            packed.outputs[0].type = ir.TensorType(ir.DataType.UINT8)
            (rounded,) = Builder(first).insert(packed)
            for node in nodes:
                node.replace_input_with(0, rounded)


def _format(dequantize: Dequantize) -> dict[str, Any]:
    matrix = matrix_of(dequantize)
    return {"bits": dequantize.bits, "block": matrix.format.block, "K": dequantize.columns, "N": matrix.rows}
