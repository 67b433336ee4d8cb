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
from g4compile.graph.axes import static_size
from g4compile.graph.build import Builder
from g4compile.graph.edit import replace
from g4compile.graph.stage import describe, op_name
from g4compile.ops.dequantize import Dequantize
from g4compile.ops.linear import Linear
from g4compile.weights.quantized import QuantizedTensor

DOMAIN = "com.microsoft"
_EXACT, _INT8 = 0, 4  # accuracy levels


@dataclass(frozen=True)
class LowerQuantizedWeights:
    name: ClassVar[str] = "lower-quantized-weights"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)

    def apply(self, model: ir.Model) -> None:
        for dequantize in Dequantize.all_in(model.graph):
            for reader, index in list(dequantize.weight.uses()):
                if Linear.matches(reader) and index == Linear.weight.index:
                    _product(dequantize, Linear(reader))
                elif op_name(reader) == "Gather" and index == 0 and reader.attributes["axis"].as_int() == 0:
                    _lookup(dequantize, reader)
                else:
                    raise SpecError(
                        f"no kernel reads codes for operand {index} of {describe(reader)}",
                        where=self.name,
                        fix="leave this weight in float32 in the recipe",
                    )
            dequantize.remove()
            model.graph.opset_imports[DOMAIN] = 1


def _product(dequantize: Dequantize, product: Linear) -> None:
    bits = dequantize.bits
    rounded = dequantize.activation_bits == 8
    if bits != 4 and not rounded:
        raise InputError(
            f"there is no exact product with {bits}-bit weights here",
            where=describe(product.node),
            why="ONNX Runtime has one for 4 bits only; all others round activations to 8 bits",
            fix="write int8 for the activations in this weight's rule, or use int4",
        )
    attributes = {
        "K": dequantize.columns,
        "N": static_size(dequantize.codes, 0),
        "bits": bits,
        "block_size": static_size(dequantize.codes, 2) * 8 // bits,
        "accuracy_level": _INT8 if rounded else _EXACT,
    }
    codes = list(dequantize.inputs.values())
    node = ir.node("MatMulNBits", [product.x, *codes], attributes, domain=DOMAIN)
    _take_place(product.node, node)


def _lookup(dequantize: Dequantize, gather: ir.Node) -> None:
    codes, *scales = dequantize.inputs.values()
    *leading, blocks, stored = (static_size(codes, axis) for axis in range(len(codes.shape or ())))
    width = stored * 8 // dequantize.bits
    attributes = {
        "bits": dequantize.bits,
        "block_size": width,
        "gather_axis": 0,
        "quantize_axis": len(leading),
    }
    build = Builder(dequantize.node)
    table = _as_rows(build.graph, codes)
    node = ir.node("GatherBlockQuantized", [table, gather.inputs[1], *scales], attributes, domain=DOMAIN)
    nodes = [node]
    if blocks * width != dequantize.columns:  # drop the columns that only fill the last block
        bounds = [build.constant([bound]) for bound in (0, dequantize.columns, -1)]
        nodes.append(ir.node("Slice", [node.outputs[0], *bounds]))
    _take_place(gather, *nodes)


def _as_rows(graph: ir.Graph, codes: ir.Value) -> ir.Value:
    """The codes with their last two axes joined: another view of the same stored bytes."""
    stored = codes.const_value
    if not isinstance(stored, QuantizedTensor):
        raise SpecError(f"{codes.name} is looked up, and is no code of a weight", where=LowerQuantizedWeights.name)
    name = f"{codes.name}.rows"
    if name not in graph.initializers:
        rows = stored.flattened()
        value = ir.Value(name=name, shape=rows.shape, type=ir.TensorType(rows.dtype), const_value=rows)
        graph.register_initializer(value)
    return graph.initializers[name]


def _take_place(old: ir.Node, *nodes: ir.Node) -> None:
    """Put ``nodes`` where ``old`` stood (it may be in the body of a loop); the output of the last is read in its
    stead."""
    build, new = Builder(old), nodes[-1].outputs[0]
    for node in nodes:
        node.outputs[0].type = old.outputs[0].type
        build.insert(node)
    new.shape = old.outputs[0].shape
    replace(old.outputs[0], new)
    build.graph.remove(old, safe=True)
