"""lower-quantized-weights: products and lookups read codes, with the kernels that ``kernels`` names.

Before:                                                After, `kernels=onnxruntime` (ONNX Runtime's own):
    w = g4.Dequantize <bits = 4> (codes, scales)           y = MatMulNBits <bits = 4, K, N> (x, codes, scales)
    y = g4.Linear (x, w)

    w = g4.Dequantize <bits = 4> (codes, scales)           r = GatherBlockQuantized <bits = 4> (codes', ids, scales)
    r = Gather (w, ids)

                                                       After, `kernels=g4ops` (the library libg4ops):
    w = g4.Dequantize <bits = 4> (codes, scales)           y = g4.QLinear <bits = 4, K, N> (x, panels, scales)
    y = g4.Linear (x, w)

    w = g4.Dequantize <bits = 4> (codes, scales)           r = g4.QGather <bits = 4, K, N> (ids, panels, scales)
    r = Gather (w, ids)

A tied embedding is stored once: the codes of its lookup are the bytes of its product, seen as rows (codes'), or the
same panels. `g4_products.py` makes the second form. Where it cannot read a weight, the first form stays: tables that
are only looked up (a row of a panel lies among those of 31 others), experts in the body of a loop, scales that bfloat16
does not hold. ONNX Runtime has exact kernels for products with 4 bits only; the others round the activations to 8 bits
(`accuracy_level` 4), and are refused where a rule says float32. With `exact=1` none rounds: the kernels for CUDA need
not, with 4 bits or 8. The library has both for all bits.
Source: onnxruntime `ContribOperators.md`, MatMulNBits and GatherBlockQuantized; `native/LAYOUT.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import InputError, SpecError
from g4compile.graph.axes import static_size
from g4compile.graph.build import Builder
from g4compile.graph.edit import replace
from g4compile.graph.stage import describe, op_name
from g4compile.ops.dequantize import Dequantize
from g4compile.ops.linear import Linear
from g4compile.passes.panels import lay_out
from g4compile.targets.onnx import g4_products
from g4compile.weights.quantized import QuantizedTensor

DOMAIN = "com.microsoft"
G4OPS, ONNXRUNTIME = "g4ops", "onnxruntime"
KERNELS = (G4OPS, ONNXRUNTIME)
_EXACT, _INT8 = 0, 4  # accuracy levels


@dataclass(frozen=True)
class LowerQuantizedWeights:
    name: ClassVar[str] = "lower-quantized-weights"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)
    kernels: str = ONNXRUNTIME
    exact: int = 0

    def apply(self, model: ir.Model) -> None:
        if self.kernels not in KERNELS:
            raise InputError(f"there are no kernels {self.kernels}", fix=f"kernels: {', '.join(KERNELS)}")
        products = []
        for dequantize in Dequantize.all_in(model.graph):
            readers = [(node, _is_product(node, index)) for node, index in dequantize.weight.uses()]
            if not readers:  # the experts of the library read its codes
                dequantize.remove()
                continue
            if self.kernels == G4OPS and g4_products.reads(dequantize):
                lay_out(dequantize)
                product, lookup = g4_products.product, g4_products.lookup
            else:
                product, lookup = partial(_product, self.exact), _lookup
                model.graph.opset_imports[DOMAIN] = 1
            for reader, is_product in readers:
                made = [product(dequantize, Linear(reader))] if is_product else lookup(dequantize, reader)
                _take_place(reader, *made)
                products += made if is_product else []
            dequantize.remove()
        g4_products.share_activations(products)


def rounds_activations(node: ir.Node) -> bool:
    """Whether ``node`` is a product that rounds its operand to 8 bits."""
    if (node.domain, node.op_type) == (DOMAIN, "MatMulNBits"):
        return node.attributes["accuracy_level"].as_int() == _INT8
    return g4_products.rounds_activations(node)


def _is_product(node: ir.Node, index: int) -> bool:
    """Whether operand ``index`` of ``node`` is multiplied with; else its rows are looked up. Raises SpecError when it
    is neither."""
    if Linear.matches(node) and index == Linear.weight.index:
        return True
    if op_name(node) == "Gather" and index == 0 and node.attributes["axis"].as_int() == 0:
        return False
    raise SpecError(
        f"no kernel reads codes for operand {index} of {describe(node)}",
        where=LowerQuantizedWeights.name,
        fix="leave this weight in float32 in the recipe",
    )


def _product(exact: int, dequantize: Dequantize, linear: Linear) -> ir.Node:
    bits = dequantize.bits
    rounded = dequantize.activation_bits == 8 and not exact
    if bits != 4 and not rounded and not exact:
        raise InputError(
            f"there is no exact product with {bits}-bit weights here",
            where=describe(linear.node),
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
    return ir.node("MatMulNBits", [linear.x, *codes], attributes, domain=DOMAIN)


def _lookup(dequantize: Dequantize, gather: ir.Node) -> list[ir.Node]:
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
    if blocks * width != dequantize.columns:  # drop the columns that only fill the last block
        bounds = [build.constant([bound]) for bound in (0, dequantize.columns, -1)]
        return [node, ir.node("Slice", [node.outputs[0], *bounds])]
    return [node]


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
