"""Products and lookups of codes as ops of libg4ops, which reads panels of rows where they are mapped.

    g4.QLinear (x, codes, scales, zero_points) -> float32 [.., N]     x float32 [.., K], or packed
    g4.QuantizeActivations (x) -> uint8 [.., bytes]                   x packed once for all products that read it
    g4.QGather (ids, codes, scales, zero_points) -> float32 [.., K]

Experts are no operands of these: the loop over them looks a matrix up by expert, and keeps ONNX Runtime's form.
Source: `native/README.md` (the ops), `native/LAYOUT.md` (the bytes, and every rounding).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from g4compile.errors import Defect
from g4compile.graph.build import Builder
from g4compile.graph.stage import describe
from g4compile.ops.dequantize import Dequantize
from g4compile.ops.linear import Linear
from g4compile.ops.schema import DOMAIN
from g4compile.weights.formats.channel_panels import ChannelPanels, fits_panels
from g4compile.weights.quantized import QuantizedMatrix, QuantizedTensor

_EXACT, _INT8 = "float32", "int8"
_ACTIVATION_BLOCK = 0  # one scale for each row of activations


def reads(dequantize: Dequantize) -> bool:
    """Whether the library reads this weight. One that is only looked up is better kept by rows: a row of a panel lies
    among those of 31 others, all of which come from the disk with it."""
    codes = dequantize.codes.const_value
    multiplied = any(Linear.matches(node) for node, _ in dequantize.weight.uses())
    if not multiplied or not isinstance(codes, QuantizedTensor):  # computed, or given: no bytes of ours to lay out
        return False
    return fits_panels((*codes.matrix.leading, codes.matrix.columns), codes.matrix.format)


def lay_out(dequantize: Dequantize) -> None:
    """Let the operands of ``dequantize``, which `reads` takes, be the same codes and scales in panels."""
    old = _matrix(dequantize)
    panels = ChannelPanels(old.weight, old.format, old.quantizer)
    for part, value in dequantize.inputs.items():
        tensor = QuantizedTensor(panels, part)
        value.const_value, value.shape, value.type = tensor, tensor.shape, ir.TensorType(tensor.dtype)


def product(dequantize: Dequantize, linear: Linear) -> ir.Node:
    """``linear`` over the panels that `lay_out` made."""
    activations = {
        "activations": _INT8 if dequantize.activation_bits == 8 else _EXACT,
        "activation_block": _ACTIVATION_BLOCK,
    }
    operands = [linear.x, *dequantize.inputs.values()]
    return ir.node("QLinear", operands, {**_format(dequantize), **activations}, domain=DOMAIN)


def lookup(dequantize: Dequantize, gather: ir.Node) -> list[ir.Node]:
    """``gather`` over the panels that `lay_out` made."""
    operands = [gather.inputs[1], *dequantize.inputs.values()]
    return [ir.node("QGather", operands, _format(dequantize), domain=DOMAIN)]


def rounds_activations(node: ir.Node) -> bool:
    """Whether ``node`` is a product of the library that rounds its operand to 8 bits."""
    return (node.domain, node.op_type) == (DOMAIN, "QLinear") and node.attributes["activations"].as_string() == _INT8


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
    matrix = _matrix(dequantize)
    return {"bits": dequantize.bits, "block": matrix.format.block, "K": dequantize.columns, "N": matrix.rows}


def _matrix(dequantize: Dequantize) -> QuantizedMatrix:
    codes = dequantize.codes.const_value
    if not isinstance(codes, QuantizedTensor):
        raise Defect(f"{dequantize.codes.name} is no code of a weight", where=describe(dequantize.node))
    return codes.matrix
