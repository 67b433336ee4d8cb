"""lower-quantized-weights: products and lookups read codes, with ONNX Runtime's own kernels.

Before:                                                After:
    w = g4.Dequantize <bits = 4> (codes, scales)           y = MatMulNBits <bits = 4, K, N> (x, codes, scales)
    y = g4.Linear (x, w)

    w = g4.Dequantize <bits = 4> (codes, scales)           r = GatherBlockQuantized <bits = 4> (codes', ids, scales)
    r = Gather (w, ids)

The codes of a lookup are the same bytes as those of a product, seen as rows (codes'): a tied embedding is stored
once. A lookup may stand in the body of a loop over experts. ONNX Runtime has exact kernels for products with
4 bits only; the others round the activations to 8 bits (`accuracy_level` 4), and are refused where a rule says float32.
Source: onnxruntime `ContribOperators.md`, MatMulNBits and GatherBlockQuantized.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import InputError, SpecError
from g4compile.graph.edit import constant, module_of, replace
from g4compile.graph.stage import describe, op_name
from g4compile.weights.quantized import QuantizedTensor

DOMAIN = "com.microsoft"
_EXACT, _INT8 = 0, 4  # accuracy levels


@dataclass(frozen=True)
class LowerQuantizedWeights:
    name: ClassVar[str] = "lower-quantized-weights"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)

    def apply(self, model: ir.Model) -> None:
        for node in list(model.graph):
            if op_name(node) != "g4.Dequantize":
                continue
            for reader, index in list(node.outputs[0].uses()):
                if op_name(reader) == "g4.Linear" and index == 1:
                    _product(node, reader)
                elif op_name(reader) == "Gather" and index == 0 and reader.attributes["axis"].as_int() == 0:
                    _lookup(node, reader)
                else:
                    raise SpecError(
                        f"no kernel reads codes for operand {index} of {describe(reader)}",
                        where=self.name,
                        fix="leave this weight in float32 in the recipe",
                    )
            model.graph.remove(node, safe=True)
            model.graph.opset_imports[DOMAIN] = 1


def _product(dequantize: ir.Node, linear: ir.Node) -> None:
    codes, scales, *zeros = dequantize.inputs
    assert codes is not None and codes.shape is not None
    bits = dequantize.attributes["bits"].as_int()
    columns = dequantize.attributes["columns"].as_int()
    rows, _, stored = (int(size) for size in codes.shape)  # type: ignore[arg-type]  # weights are static
    rounded = dequantize.attributes["activation_bits"].as_int() == 8
    if bits != 4 and not rounded:
        raise InputError(
            f"there is no exact product with {bits}-bit weights here",
            where=describe(linear),
            why="ONNX Runtime has one for 4 bits only; all others round activations to 8 bits",
            fix="write int8 for the activations in this weight's rule, or use int4",
        )
    attributes = {
        "K": columns,
        "N": rows,
        "bits": bits,
        "block_size": stored * 8 // bits,
        "accuracy_level": _INT8 if rounded else _EXACT,
    }
    node = ir.node("MatMulNBits", [linear.inputs[0], codes, scales, *zeros], attributes, domain=DOMAIN)
    _take_place(linear, node)


def _lookup(dequantize: ir.Node, gather: ir.Node) -> None:
    codes, scales, *zeros = dequantize.inputs
    assert codes is not None and codes.shape is not None and isinstance(codes.const_value, QuantizedTensor)
    bits = dequantize.attributes["bits"].as_int()
    columns = dequantize.attributes["columns"].as_int()
    *leading, blocks, stored = (int(size) for size in codes.shape)  # type: ignore[arg-type]  # weights are static
    width = stored * 8 // bits
    attributes = {
        "bits": bits,
        "block_size": width,
        "gather_axis": 0,
        "quantize_axis": len(leading),
    }
    table = _as_rows(dequantize.graph, codes)
    node = ir.node("GatherBlockQuantized", [table, gather.inputs[1], scales, *zeros], attributes, domain=DOMAIN)
    nodes = [node]
    if blocks * width != columns:  # drop the columns that only fill the last block
        assert isinstance(dequantize.graph, ir.Graph)
        bounds = [constant(dequantize.graph, [bound]) for bound in (0, columns, -1)]
        nodes.append(ir.node("Slice", [node.outputs[0], *bounds]))
    _take_place(gather, *nodes)


def _as_rows(graph: ir.Graph | ir.Function | None, codes: ir.Value) -> ir.Value:
    """The codes with their last two axes joined: another view of the same stored bytes."""
    assert isinstance(graph, ir.Graph) and isinstance(codes.const_value, QuantizedTensor)
    name = f"{codes.name}.rows"
    if name not in graph.initializers:
        rows = codes.const_value.flattened()
        value = ir.Value(name=name, shape=rows.shape, type=ir.TensorType(rows.dtype), const_value=rows)
        graph.register_initializer(value)
    return graph.initializers[name]


def _take_place(old: ir.Node, *nodes: ir.Node) -> None:
    """Put ``nodes`` where ``old`` stood; the output of the last is read in its stead."""
    graph, new = old.graph, nodes[-1].outputs[0]
    assert graph is not None
    for node in nodes:
        node.name = f"{module_of(old)}/{node.op_type}"
        node.outputs[0].type = old.outputs[0].type
        graph.insert_before(old, node)
    new.shape = old.outputs[0].shape
    replace(old.outputs[0], new)
    graph.remove(old, safe=True)
