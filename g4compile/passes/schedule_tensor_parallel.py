"""schedule-tensor-parallel: one rank's share of heads, MLPs and experts; sums over ranks behind what was split.

Before (rank 1 of 2):                           After:
    q = g4.Linear (x, Q)                            q = g4.Linear (x, rows 2/2 of Q)
    k, v = g4.RopeKeyValue <kv_heads = 4> (..)      k, v = g4.RopeKeyValue <kv_heads = 2> (..)
    a = g4.DualRopeAttention <heads = 8> (..)       a = g4.DualRopeAttention <heads = 4> (..)
    y = g4.Linear (a, O)                            y = g4.AllReduce (g4.Linear (a, columns 2/2 of O))
    z = g4.Linear (g4.GeGLU (gate, up), D)          z = g4.AllReduce (g4.Linear (g4.GeGLU (half, half), columns 2/2 of D))
    e = g4.MoEExperts (x, i, w, G, D)               e = g4.AllReduce (g4.MoEExperts (x, i, w, half of each, half of each))

Experts are split inside (each rank has a share of every expert), so routing needs no exchange. A KV head that ranks cannot share
out is held by each rank whose query heads read it. Norms, the router, per-layer inputs and the vocabulary are on every rank.
Source: Shoeybi et al., Megatron-LM (2019), section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.bundle.weight_steps import COLUMNS, ROWS
from g4compile.errors import MatchError
from g4compile.graph import edit
from g4compile.graph.stage import describe, op_name
from g4compile.ops.insert import insert_op
from g4compile.passes.base import expect
from g4compile.weights.references import CheckpointTensor


@dataclass(frozen=True)
class ScheduleTensorParallel:
    """``rank`` of ``ranks``. ``sums``: products behind which ranks are summed, or None for any number."""

    name: ClassVar[str] = "schedule-tensor-parallel"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)
    ranks: int = 2
    rank: int = 0
    sums: int | None = None

    def apply(self, model: ir.Model) -> None:
        if not 0 <= self.rank < self.ranks:
            raise MatchError(f"there is no rank {self.rank} of {self.ranks}", where=self.name)
        rules = {
            "g4.RopeKeyValue": self._keys,
            "g4.DualRopeAttention": self._attention,
            "g4.GeGLU": self._mlp,
            "g4.MoEExperts": self._experts,
        }
        found = sum(rules[op_name(node)](node) for node in list(model.graph) if op_name(node) in rules)
        expect(self.name, "sums over ranks", found, self.sums, "no product behind attention or an MLP is left")

    def _keys(self, node: ir.Node) -> int:
        heads = node.attributes["kv_heads"].as_int()
        if heads % self.ranks and self.ranks % heads:
            raise MatchError(f"{heads} KV heads cannot be shared out to {self.ranks} ranks", where=describe(node))
        shares = min(heads, self.ranks)  # a head that is not split is held by several ranks
        for value in dict.fromkeys(node.inputs[:2]):
            self._split(node, _linear_of(value), ROWS, 1, self.rank * shares // self.ranks, shares)
        own = heads // shares
        node.attributes["kv_heads"] = ir.AttrInt64("kv_heads", own)
        for value in node.outputs:
            self._narrow_cache(value, own)
        return 0

    def _narrow_cache(self, value: ir.Value, heads: int) -> None:
        """New keys or values and the buffers they are written to have this rank's heads."""
        _resize(value, 1, heads)
        for reader in value.consumers():
            if reader.op_type == "TensorScatter":
                for cache in (reader.inputs[0], reader.outputs[0]):
                    assert cache is not None
                    _resize(cache, 1, heads)

    def _attention(self, node: ir.Node) -> int:
        heads = node.attributes["heads"].as_int()
        if heads % self.ranks:
            raise MatchError(f"{heads} query heads cannot be shared out to {self.ranks} ranks", where=describe(node))
        self._split(node, _linear_of(node.inputs[0]), ROWS, 1, self.rank, self.ranks)
        node.attributes["heads"] = ir.AttrInt64("heads", heads // self.ranks)
        self._share(node.outputs[0])
        return self._sum_behind(node)

    def _mlp(self, node: ir.Node) -> int:
        producers = [_linear_of(value) for value in node.inputs]
        if None in producers:
            return 0  # a gate of per-layer inputs, which are on every rank
        for producer in producers:
            self._split(node, producer, ROWS, 1, self.rank, self.ranks)
        self._share(node.outputs[0])
        return self._sum_behind(node)

    def _experts(self, node: ir.Node) -> int:
        self._shard(node, 3, ROWS, 2, self.rank, self.ranks)  # gate rows, then up rows: a share of each
        self._shard(node, 4, COLUMNS, 1, self.rank, self.ranks)
        self._sum(node)
        return 1

    def _sum_behind(self, node: ir.Node) -> int:
        readers = node.outputs[0].consumers()
        if len(readers) != 1 or op_name(readers[0]) != "g4.Linear":
            raise MatchError(f"{describe(node)} is not read by one product alone", where=self.name)
        self._shard(readers[0], 1, COLUMNS, 1, self.rank, self.ranks)
        self._sum(readers[0])
        return 1

    def _split(self, node: ir.Node, linear: ir.Node | None, axis: str, parts: int, share: int, shares: int) -> None:
        if linear is None:
            raise MatchError(f"{describe(node)} does not read a product", where=self.name)
        self._shard(linear, 1, axis, parts, share, shares)
        _resize(linear.outputs[0], -1, _size(linear.outputs[0], -1) // shares)

    def _share(self, value: ir.Value) -> None:
        _resize(value, -1, _size(value, -1) // self.ranks)

    def _shard(self, node: ir.Node, operand: int, axis: str, parts: int, share: int, shares: int) -> None:
        weight = node.inputs[operand]
        stored = weight.const_value if weight is not None else None
        if weight is None or not isinstance(stored, CheckpointTensor) or len(weight.uses()) != 1:
            raise MatchError(
                f"a weight of {describe(node)} is not a tensor of the checkpoint that it alone reads", where=self.name
            )
        place = -1 if axis == COLUMNS else -2
        if _size(weight, place) % (parts * shares):
            raise MatchError(
                f"{_size(weight, place)} {axis} of {stored.key} cannot be shared out to {shares} ranks",
                where=describe(node),
            )
        if shares > 1:
            weight.const_value = stored.sharded(axis, parts, share, shares)
            weight.shape = weight.const_value.shape

    def _sum(self, node: ir.Node) -> None:
        output = node.outputs[0]
        readers = list(output.uses())
        following = output.consumers()[0]
        (total,) = insert_op(edit.Inserter(following), "AllReduce", [output], {"ranks": self.ranks})
        total.producer().name = f"{edit.module_of(node)}/AllReduce"  # type: ignore[union-attr]  # made just here
        for reader, index in readers:
            reader.replace_input_with(index, total)


def _linear_of(value: ir.Value | None) -> ir.Node | None:
    producer = value.producer() if value is not None else None
    return producer if producer is not None and op_name(producer) == "g4.Linear" else None


def _size(value: ir.Value, axis: int) -> int:
    assert value.shape is not None
    size = value.shape[axis]
    assert isinstance(size, int)
    return size


def _resize(value: ir.Value, axis: int, size: int) -> None:
    assert value.shape is not None
    sizes = list(value.shape)
    sizes[axis] = size
    value.shape = ir.Shape(sizes)
