"""lower-proportional-rope: heads reordered, so that rotated dimensions stand first and the others have no angles.

Before (D = 512, 64 of 256 frequencies are not 0):      After:
    angles = Mul (position, inv_freq[256])                  angles = Mul (position, inv_freq[64])
    k, v = g4.RopeKeyValue <rotary = 512>                   k, v = g4.RopeKeyValue <rotary = 128>
    y    = g4.DualRopeAttention <rotary = 512>              y    = g4.DualRopeAttention <rotary = 128>

p-RoPE rotates the pairs of dimensions (i, i + 256) for i below 64. Kernels that rotate the first dimensions of a head
want these pairs as (i, i + 64). A score is a sum over the dimensions of a head, so queries and keys may have any order
that they share. The rows of q_proj and k_proj and the two norms are reordered when they are read; the graph records it.
Where values are the key projection too, they come out reordered, and the columns of o_proj follow. Scale-free norms
stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from g4compile.bundle.weight_steps import COLUMNS, ROWS
from g4compile.errors import MatchError
from g4compile.graph import edit
from g4compile.graph.axes import resize, static_size
from g4compile.graph.stage import describe, op_name
from g4compile.ops.cache_update import CacheUpdate
from g4compile.ops.dual_rope_attention import DualRopeAttention
from g4compile.ops.linear import Linear
from g4compile.ops.rope_key_value import RopeKeyValue
from g4compile.passes.base import expect
from g4compile.weights.references import CheckpointTensor

_ANGLES = {"Cos", "Sin", "Cast"}


@dataclass(frozen=True)
class LowerProportionalRope:
    """``layers``: attentions with p-RoPE; None accepts any number."""

    name: ClassVar[str] = "lower-proportional-rope"
    stages: ClassVar[tuple[str, ...]] = ("fused",)
    layers: int | None = None

    def apply(self, model: ir.Model) -> None:
        found, nearest = 0, "no frequencies end in zeros"
        for node in list(model.graph):
            array = edit.constant_array(node.inputs[1]) if node.op_type == "Mul" else None
            if array is None or array.ndim != 1 or array.size < 2 or array[-1] != 0:
                continue
            rotated = int(np.count_nonzero(array))
            if not array[:rotated].all():
                nearest = f"the frequencies of {describe(node)} have zeros between others"
                continue
            node.replace_input_with(1, edit.constant(model.graph, array[:rotated], ir.DataType.FLOAT))
            for reader in _narrow(node.outputs[0], rotated):
                found += DualRopeAttention.matches(reader)
                _reorder(reader, 2 * rotated)
        expect(self.name, "attention layers with proportional RoPE", found, self.layers, nearest)


def _narrow(angles: ir.Value, pairs: int) -> list[ir.Node]:
    """Give ``angles`` and all that is computed from them elementwise the new size; the ops that rotate by them."""
    readers: dict[ir.Node, None] = {}
    pending = [angles]
    while pending:
        value = pending.pop()
        resize(value, -1, pairs)
        for reader in value.consumers():
            if op_name(reader) in _ANGLES:
                pending.append(reader.outputs[0])
            else:
                readers[reader] = None
    return list(readers)


def _reorder(node: ir.Node, rotary: int) -> None:
    """Rotate the first ``rotary`` dimensions of what ``node`` rotates; reorder the weights before it, and behind its
    values."""
    if DualRopeAttention.matches(node):
        attention = DualRopeAttention(node)
        width = static_size(attention.query_norm, 0)
        _permute(node, attention.query_norm, ROWS, width, rotary)
        _permute(node, _weight_of(attention.query), ROWS, width, rotary)
        if _values_are_keys(attention):
            readers = attention.out.consumers()
            if len(readers) != 1 or not Linear.matches(readers[0]):
                raise MatchError(f"{describe(node)} is not read by one product alone", where=_NAME)
            _permute(node, Linear(readers[0]).weight, COLUMNS, width, rotary)
        attention.set("rotary", rotary)
    elif RopeKeyValue.matches(node):
        keys = RopeKeyValue(node)
        width = static_size(keys.key_norm, 0)
        _permute(node, keys.key_norm, ROWS, width, rotary)
        _permute(node, _weight_of(keys.key_in), ROWS, width, rotary)
        keys.set("rotary", rotary)
    else:
        raise MatchError(f"{describe(node)} reads the angles of proportional RoPE", where=_NAME)


def _weight_of(projection: ir.Value) -> ir.Value | None:
    product = Linear.producing(projection)
    return None if product is None else product.weight


def _values_are_keys(attention: DualRopeAttention) -> bool:
    """Whether the values (behind their cache) are normed from the key projection."""
    update = CacheUpdate.producing(attention.value)
    source = RopeKeyValue.producing(update.new) if update is not None else None
    if source is None:
        raise MatchError(
            f"the values of {describe(attention.node)} do not come from projections through a cache", where=_NAME
        )
    return source.key_in is source.value_in


def _permute(node: ir.Node, weight: ir.Value | None, axis: str, width: int, rotary: int) -> None:
    stored = weight.const_value if weight is not None else None
    if weight is None or not isinstance(stored, CheckpointTensor) or len(weight.uses()) != 1:
        raise MatchError(
            f"a weight of {describe(node)} is not a tensor of the checkpoint that it alone reads", where=_NAME
        )
    weight.const_value = stored.reordered(axis, width, rotary)


_NAME = LowerProportionalRope.name
