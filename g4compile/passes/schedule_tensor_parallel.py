"""schedule-tensor-parallel: one rank's share of heads, MLPs and experts; sums over ranks behind what was split.

Before:
    q = g4.Linear (x, Q)
    k, v = g4.RopeKeyValue <kv_heads = 4> (..)
    a = g4.DualRopeAttention <heads = 8> (..)
    y = g4.Linear (a, O)
    z = g4.Linear (g4.GeGLU (gate, up), D)
    e = g4.MoEExperts (x, i, w, G, D)
After (rank 1 of 2):
    q = g4.Linear (x, rows 2/2 of Q)
    k, v = g4.RopeKeyValue <kv_heads = 2> (..)
    a = g4.DualRopeAttention <heads = 4> (..)
    y = g4.AllReduce (g4.Linear (a, columns 2/2 of O))
    z = g4.AllReduce (g4.Linear (g4.GeGLU (half, half), columns 2/2 of D))
    e = g4.AllReduce (g4.MoEExperts (x, i, w, half of each, half of each))

Experts are split inside (each rank has a share of every expert), so routing needs no exchange. A KV head that ranks
cannot share out is held by each rank whose query heads read it. Norms, the router, per-layer inputs and the vocabulary
are on every rank. Source: Shoeybi et al., Megatron-LM (2019), section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.bundle.weight_steps import COLUMNS, ROWS
from g4compile.errors import InputError, MatchError
from g4compile.graph import edit
from g4compile.graph.axes import resize, static_size
from g4compile.graph.build import Builder
from g4compile.graph.stage import describe
from g4compile.ops.all_reduce import AllReduce
from g4compile.ops.dual_rope_attention import DualRopeAttention
from g4compile.ops.geglu import GeGLU
from g4compile.ops.linear import Linear
from g4compile.ops.moe_experts import MoEExperts
from g4compile.ops.registry import view
from g4compile.ops.rope_key_value import RopeKeyValue
from g4compile.passes.base import expect
from g4compile.weights.references import CheckpointTensor


@dataclass(frozen=True)
class _Cut:
    """Of each of ``parts`` equal parts of ``axis``: the share ``share`` of ``shares``."""

    axis: str
    parts: int
    share: int
    shares: int


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
            raise InputError(
                f"there is no rank {self.rank} of {self.ranks}", where=self.name, fix=f"rank = 0 to {self.ranks - 1}"
            )
        found = 0
        for node in list(model.graph):
            op = view(node)
            if isinstance(op, RopeKeyValue):
                self._keys(op)
            elif isinstance(op, DualRopeAttention):
                found += self._attention(op)
            elif isinstance(op, GeGLU):
                found += self._mlp(op)
            elif isinstance(op, MoEExperts):
                found += self._experts(op)
        expect(self.name, "sums over ranks", found, self.sums, "no product behind attention or an MLP is left")

    def _keys(self, op: RopeKeyValue) -> None:
        heads = op.kv_heads
        if heads % self.ranks and self.ranks % heads:
            raise MatchError(f"{heads} KV heads cannot be shared out to {self.ranks} ranks", where=describe(op.node))
        shares = min(heads, self.ranks)  # a head that is not split is held by several ranks
        for value in dict.fromkeys((op.key_in, op.value_in)):
            self._split(op.node, Linear.producing(value), _Cut(ROWS, 1, self.rank * shares // self.ranks, shares))
        own = heads // shares
        op.set("kv_heads", own)
        for value in op.node.outputs:
            _narrow_cache(value, own)

    def _attention(self, op: DualRopeAttention) -> int:
        if op.heads % self.ranks:
            raise MatchError(
                f"{op.heads} query heads cannot be shared out to {self.ranks} ranks", where=describe(op.node)
            )
        self._split(op.node, Linear.producing(op.query), self._own(ROWS))
        op.set("heads", op.heads // self.ranks)
        return self._sum_behind(op.node, op.out)

    def _mlp(self, op: GeGLU) -> int:
        producers = [Linear.producing(value) for value in (op.gate, op.up)]
        if None in producers:
            return 0  # a gate of per-layer inputs, which are on every rank
        for producer in producers:
            self._split(op.node, producer, self._own(ROWS))
        return self._sum_behind(op.node, op.y)

    def _experts(self, op: MoEExperts) -> int:
        self._shard(
            op.node, op.gate_up, _Cut(ROWS, 2, self.rank, self.ranks)
        )  # gate rows, then up rows: a share of each
        self._shard(op.node, op.down, self._own(COLUMNS))
        self._sum(op.node)
        return 1

    def _own(self, axis: str) -> _Cut:
        return _Cut(axis, 1, self.rank, self.ranks)

    def _sum_behind(self, node: ir.Node, output: ir.Value) -> int:
        """``output`` of ``node`` has a share of its columns; the product that reads it is summed over ranks."""
        resize(output, -1, static_size(output, -1) // self.ranks)
        readers = output.consumers()
        if len(readers) != 1 or not Linear.matches(readers[0]):
            raise MatchError(f"{describe(node)} is not read by one product alone", where=self.name)
        self._shard(readers[0], Linear(readers[0]).weight, self._own(COLUMNS))
        self._sum(readers[0])
        return 1

    def _split(self, node: ir.Node, product: Linear | None, cut: _Cut) -> None:
        if product is None:
            raise MatchError(f"{describe(node)} does not read a product", where=self.name)
        self._shard(product.node, product.weight, cut)
        resize(product.y, -1, static_size(product.y, -1) // cut.shares)

    def _shard(self, node: ir.Node, weight: ir.Value, cut: _Cut) -> None:
        stored = weight.const_value
        if not isinstance(stored, CheckpointTensor) or len(weight.uses()) != 1:
            raise MatchError(
                f"a weight of {describe(node)} is not a tensor of the checkpoint that it alone reads", where=self.name
            )
        size = static_size(weight, -1 if cut.axis == COLUMNS else -2)
        if size % (cut.parts * cut.shares):
            raise MatchError(
                f"{size} {cut.axis} of {stored.key} cannot be shared out to {cut.shares} ranks", where=describe(node)
            )
        if cut.shares > 1:
            weight.const_value = stored.sharded(cut.axis, cut.parts, cut.share, cut.shares)
            weight.shape = weight.const_value.shape

    def _sum(self, node: ir.Node) -> None:
        output = node.outputs[0]
        readers = list(output.uses())
        build = Builder(output.consumers()[0])
        total = AllReduce.insert(build, output, ranks=self.ranks)
        build.made[0].name = f"{edit.module_of(node)}/{build.made[0].op_type}"
        for reader, index in readers:
            reader.replace_input_with(index, total)


def _narrow_cache(value: ir.Value, heads: int) -> None:
    """New keys or values and the buffers they are written to have ``heads``."""
    resize(value, 1, heads)
    for reader in value.consumers():
        if reader.op_type == "TensorScatter":
            for cache in (reader.inputs[0], reader.outputs[0]):
                if cache is not None:
                    resize(cache, 1, heads)
