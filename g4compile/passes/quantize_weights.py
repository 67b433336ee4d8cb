"""quantize-weights: weights become codes behind `g4.Dequantize`, as a recipe says.

Before:                          After (recipe: int4, blocks of 128):
    y = g4.Linear (x, W)             w = g4.Dequantize <bits = 4, columns = K> (W.codes, W.scales)
                                     y = g4.Linear (x, w)

Nothing is read or computed here: codes and scales are references, made when the bundle is written. Every product,
lookup and expert table is asked for by its module's name; a weight that more than one node reads is dequantised once.

`product_scales=bfloat16` rounds the scales of blocks of every weight that a product reads, before its codes are chosen,
and every table of experts, for kernels that keep such scales in two bytes. A scale of a whole row stays float32, as do
all scales of tables that are only looked up, and of codes that a checkpoint stores.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import InputError
from g4compile.graph.build import Builder
from g4compile.model.keys import module_of_key
from g4compile.ops.dequantize import Dequantize
from g4compile.ops.linear import Linear
from g4compile.ops.moe_experts import MoEExperts
from g4compile.ops.registry import view, weight_operands
from g4compile.weights.formats.blocks import BFLOAT16, FLOAT32, WHOLE_ROW, BlockFormat
from g4compile.weights.quantized import QuantizedMatrix, QuantizedTensor
from g4compile.weights.recipe import Recipe, Rule, load_recipe
from g4compile.weights.references import CheckpointTensor
from g4compile.weights.stored import STORED, stored_rule

Weights = dict[ir.Value, tuple[ir.Node, CheckpointTensor]]


@dataclass(frozen=True)
class QuantizeWeights:
    """``recipe``: one that was read already, a built-in name, a file, or `stored` for the codes that the bound
    checkpoint holds. ``lookups``: whether tables that are looked up are coded."""

    name: ClassVar[str] = "quantize-weights"
    stages: ClassVar[tuple[str, ...]] = ("scheduled",)
    recipe: Recipe | str = "int4"
    product_scales: str = FLOAT32
    lookups: int = 1

    def apply(self, model: ir.Model) -> None:
        if self.product_scales not in (FLOAT32, BFLOAT16):
            raise InputError(f"there are no scales of {self.product_scales}", fix=f"{FLOAT32} or {BFLOAT16}")
        weights = _weights(model, bool(self.lookups))
        if self.recipe == STORED:
            rules = {value: stored_rule(of.bound, of.key, of.stored_shape) for value, (_, of) in weights.items()}
        else:
            rules = _recipe_rules(weights, self.recipe)
        for value, (reader, tensor) in weights.items():
            rule = rules[value]
            if rule.format is not None:
                matrix = QuantizedMatrix(tensor, self._format(value, rule.format, rule.quantizer), rule.quantizer)
                _replace(value, matrix, reader, rule, bool(self.lookups))

    def _format(self, value: ir.Value, format: BlockFormat, quantizer: str) -> BlockFormat:
        multiplied = any(Linear.matches(node) or MoEExperts.matches(node) for node, _ in value.uses())
        rounded = multiplied and format.block != WHOLE_ROW and quantizer != STORED
        return replace(format, scales=self.product_scales) if rounded else format


def _recipe_rules(weights: Weights, source: Recipe | str) -> dict[ir.Value, Rule]:
    recipe = source if isinstance(source, Recipe) else load_recipe(source)
    recipe.check(module_of_key(tensor.key) for _, tensor in weights.values())
    return {value: recipe.rule(module_of_key(tensor.key)) for value, (_, tensor) in weights.items()}


def _weights(model: ir.Model, lookups: bool) -> Weights:
    """Weights in the order of their first readers; of products alone without ``lookups``."""
    found: Weights = {}
    for node in model.graph:
        for index in weight_operands(node) if lookups or view(node) is not None else ():
            value = node.inputs[index]
            if (
                value is not None
                and isinstance(value.const_value, CheckpointTensor)
                and len(value.const_value.shape) > 1
            ):
                found.setdefault(value, (node, value.const_value))
    return found


def _replace(weight: ir.Value, matrix: QuantizedMatrix, reader: ir.Node, rule: Rule, lookups: bool) -> None:
    graph, operands = Builder(reader).graph, []
    for part in matrix.parts:
        reference = QuantizedTensor(matrix, part)
        value = ir.Value(
            name=f"{weight.name}.{part}",
            shape=reference.shape,
            type=ir.TensorType(reference.dtype),
            const_value=reference,
        )
        graph.register_initializer(value)
        operands.append(value)
    dequantized = Dequantize.insert(
        Builder(reader),
        *operands,
        bits=matrix.format.bits,
        columns=matrix.columns,
        activation_bits=8 if rule.activations == "int8" else 0,
    )
    for node, index in list(weight.uses()):
        if lookups or view(node) is not None:
            node.replace_input_with(index, dequantized)
    if not weight.uses():
        del graph.initializers[str(weight.name)]
