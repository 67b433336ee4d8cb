"""Operands and results of ops of libg4cuda: weights as bfloat16 or as codes, and nodes whose results are typed.

    w  bfloat16 [N, K]                               as it stands
    w  uint8 [N, blocks, block * bits / 8]           codes, symmetric, 4 or 8 bits; s bfloat16 [N, blocks]

Experts have an axis E in front. The last block of a row may be partly unused. What a recipe says of activations is for
kernels that round them; here they are bfloat16. Source: `weights/formats/blocks.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import onnx_ir as ir

from g4compile.errors import InputError, SpecError
from g4compile.graph.axes import Size, sizes_of
from g4compile.graph.build import Builder
from g4compile.ops.dequantize import Dequantize
from g4compile.ops.schema import DOMAIN
from g4compile.weights.formats.blocks import BFLOAT16 as BFLOAT16_SCALES
from g4compile.weights.formats.blocks import WHOLE_ROW, BlockFormat
from g4compile.weights.formats.narrow_blocks import NarrowBlocks
from g4compile.weights.quantized import QuantizedTensor
from g4compile.weights.references import CheckpointTensor

WIDE, NARROW, INTEGER, INDEX = ir.DataType.FLOAT, ir.DataType.BFLOAT16, ir.DataType.INT64, ir.DataType.INT32
Typed = tuple[ir.DataType, Sequence[Size] | ir.Shape | None]
_WHOLE = 16  # bits of a weight that is no code
_BITS = (4, 8)


@dataclass(frozen=True)
class Weight:
    """A matrix, or those of all experts, as an op reads it. Without ``scales`` its ``bits`` are 16, its ``block`` 0."""

    stored: ir.Value
    scales: ir.Value | None
    bits: int
    block: int

    @property
    def format(self) -> dict[str, int]:
        """As attributes of a node."""
        return {"bits": self.bits, "block": self.block}


def insert(
    build: Builder, op: str, inputs: Sequence[ir.Value | None], outputs: Sequence[Typed], **attributes: Any
) -> list[ir.Value]:
    """A node of the library in front of the anchor of ``build``; its outputs, of the given dtypes and sizes (None where
    they are not known). None stands for an absent operand; those at the end are left away."""
    given = list(inputs)
    while given and given[-1] is None:
        given.pop()
    node = ir.node(op, given, attributes, domain=DOMAIN, num_outputs=len(outputs))
    for value, (dtype, sizes) in zip(node.outputs, outputs, strict=True):
        value.type, value.shape = ir.TensorType(dtype), None if sizes is None else ir.Shape(sizes)
    return build.insert(node)


def leading(value: ir.Value) -> list[int | ir.SymbolicDim]:
    """The sizes of ``value`` but the last."""
    return sizes_of(value)[:-1]


def narrow(value: ir.Value, where: str) -> ir.Value:
    """The weight ``value``, which is stored as bfloat16 from now on. Raises SpecError, in the pass ``where``, for what
    is no tensor of a checkpoint."""
    tensor = value.const_value
    if not isinstance(tensor, CheckpointTensor):
        raise SpecError(f"{value.name} is no tensor of a checkpoint", where=where)
    value.const_value, value.type = tensor.in_dtype(NARROW), ir.TensorType(NARROW)
    return value


def weight(value: ir.Value, where: str) -> Weight:
    """What ``value`` is multiplied with, or looked up in, in the pass ``where``. Raises InputError for codes that no
    kernel reads, SpecError for what is no weight."""
    coded = Dequantize.producing(value)
    if coded is None:
        return Weight(narrow(value, where), None, _WHOLE, 0)
    tensor = coded.codes.const_value
    if not isinstance(tensor, QuantizedTensor):
        raise SpecError(f"{coded.codes.name} are no codes of a weight", where=where)
    old = tensor.matrix
    _check(old.format, tensor.key, where)
    if not isinstance(old, NarrowBlocks):
        made = NarrowBlocks(old.weight, replace(old.format, scales=BFLOAT16_SCALES), old.quantizer)
        for part, stored in coded.inputs.items():
            stored.const_value = reference = QuantizedTensor(made, part)
            stored.type = ir.TensorType(reference.dtype)
    return Weight(coded.codes, coded.scales, old.format.bits, old.format.block)


def same_format(weights: Sequence[Weight], where: str) -> dict[str, int]:
    """The attributes of a node that reads all ``weights``. Raises InputError where they differ."""
    formats = {(one.bits, one.block) for one in weights}
    if len(formats) > 1:
        raise InputError(
            f"{', '.join(str(one.stored.name) for one in weights)} are read by one kernel, in formats of their own",
            where=where,
            fix="give them one rule in the recipe",
        )
    return weights[0].format


def _check(format: BlockFormat, key: str, where: str) -> None:
    if format.bits not in _BITS or not format.symmetric or format.block == WHOLE_ROW:
        raise InputError(
            f"no kernel reads the weight {key} as {format}",
            where=where,
            why="kernels here read symmetric codes of 4 or 8 bits, with a scale for each block",
            fix="--weights int4, int8 or bfloat16, or a rule like: int4 128 symmetric float32 nearest",
        )
