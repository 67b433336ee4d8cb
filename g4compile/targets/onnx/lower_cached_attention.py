"""lower-cached-attention: caches and attention are those of libg4ops.

Before:                                                   After:
    k = TensorScatter (past, new, at)                         k = g4.CacheWrite (new, position_ids, past)
    mask = g4.CausalMask (positions, k)                       r = g4.NormHeads (q, .., cos, sin)
    y = g4.DualRopeAttention (q, .., k, v, mask)              y = g4.Attention (r, positions, k, v)

    codes, scales = g4.QuantizeKV (new)                       c, s = g4.CacheWrite (new, position_ids, past, past_scale)
    c = TensorScatter (past, codes, at)                       y = g4.Attention (r, positions, c, v, s, v_scales)
    s = TensorScatter (past_scale, scales, at)
    k = g4.DequantizeKV (c, s)
    ...

    c = TensorScatter (past, Cast (new), at)                  c = g4.CacheWrite (new, position_ids, past)
    k = Cast (c)                    (c in bfloat16)           y = g4.Attention (r, positions, c, v)
    ...

    mask = g4.BlockMask (positions, starts, ends, k)      y = g4.Attention (r, positions, k, v, , , starts, ends)

Where the mask is cut to the kept positions, so are the positions and the bounds of blocks. No mask stands in memory,
each key and value is read once for all heads that share it, and codes, or bfloat16, become float32 in registers. A ring
(`TensorScatter <circular>`, g4.RingMask) becomes `ring = 1` and the window of the attention. A ring in which queries
see whole blocks (g4.RingBlockMask) may have any number of slots: a session gives it more for a block larger than a run.
Source: `native/README.md` (the ops), `native/LAYERS.md` (what they compute, to the bit).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import MatchError
from g4compile.graph.axes import resize, sizes_of
from g4compile.graph.build import Builder
from g4compile.graph.edit import replace
from g4compile.graph.stage import describe, op_name
from g4compile.ops.block_mask import BlockMask
from g4compile.ops.causal_mask import CausalMask
from g4compile.ops.dequantize_kv import DequantizeKV
from g4compile.ops.dual_rope_attention import DualRopeAttention
from g4compile.ops.quantize_kv import QuantizeKV
from g4compile.ops.registry import view
from g4compile.ops.ring_block_mask import RingBlockMask
from g4compile.ops.ring_mask import RingMask
from g4compile.ops.schema import DOMAIN
from g4compile.passes.base import expect
from g4compile.targets.onnx.normed_heads import normed_queries

_POSITIONS = "position_ids"
_SLOTS = "slots"  # of rings, where a session chooses how many


@dataclass(frozen=True)
class _Written:
    """What a `CacheWrite` gives: the cache, its scales where it holds codes, and whether it is a ring."""

    cache: ir.Value
    scales: ir.Value | None
    ring: bool


@dataclass(frozen=True)
class LowerCachedAttention:
    """``layers``: how many attentions there are, or None."""

    name: ClassVar[str] = "lower-cached-attention"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)
    layers: int | None = None

    def apply(self, model: ir.Model) -> None:
        positions = next((value for value in model.graph.inputs if value.name == _POSITIONS), None)
        if positions is None:
            raise MatchError(f"the graph has no input {_POSITIONS} to place keys by", where=self.name)
        caches = _Caches(positions)
        sites = DualRopeAttention.all_in(model.graph)
        for site in sites:
            _attend(site, caches.of(site.key, site), caches.of(site.value, site))
        for node in model.graph:  # what no attention reads any more has a ring's new size too
            if any(sizes_of(value)[2:3] == [_SLOTS] for value in node.inputs if value is not None and value.shape):
                left = view(node)
                if left is not None:
                    left.infer()
        expect(self.name, "attentions", len(sites), self.layers, f"no {DualRopeAttention.name()} is left")


@dataclass
class _Caches:
    """The caches of a graph, each written by one node, however many attentions read it."""

    positions: ir.Value
    made: dict[ir.Value, _Written] = field(default_factory=dict)

    def of(self, keys: ir.Value, site: DualRopeAttention) -> _Written:
        """What stands for ``keys`` (or values), which ``site`` reads."""
        if keys not in self.made:
            codes, narrow = DequantizeKV.producing(keys), _cast_from(keys, ir.DataType.BFLOAT16)
            if codes is not None:
                written = self._of_codes(codes)
            else:
                written = self._of_numbers(keys if narrow is None else narrow, site)
            self.made[keys] = self.made[written.cache] = written  # readers may read either now
        return self.made[keys]

    def _of_numbers(self, keys: ir.Value, site: DualRopeAttention) -> _Written:
        scatter = keys.producer()
        if scatter is None or op_name(scatter) != "TensorScatter":
            raise MatchError(
                f"{keys.name} is no cache that is written in place", where=describe(site.node), why="TensorScatter is"
            )
        past, new = scatter.inputs[:2]
        if past is not None and past.dtype == ir.DataType.BFLOAT16:
            new = _cast_from(new, ir.DataType.FLOAT)  # `CacheWrite` rounds
            if new is None:
                raise MatchError(
                    f"{describe(scatter)} does not add float32 numbers that a Cast rounds",
                    where=LowerCachedAttention.name,
                )
        (cache,) = self._write(scatter, new, (past,))
        replace(keys, cache)
        return _Written(cache, None, _is_ring(scatter))

    def _of_codes(self, dequantize: DequantizeKV) -> _Written:
        scatters = [value.producer() for value in (dequantize.codes, dequantize.scales)]
        rounded = QuantizeKV.producing(scatters[0].inputs[1]) if scatters[0] is not None else None
        if rounded is None or any(node is None or op_name(node) != "TensorScatter" for node in scatters):
            raise MatchError(
                f"{describe(dequantize.node)} does not read codes that g4.QuantizeKV wrote in place",
                where=LowerCachedAttention.name,
            )
        first, second = (node for node in scatters if node is not None)
        last = max(first, second, key=list(first.graph or ()).index)
        cache, scales = self._write(last, rounded.x, (first.inputs[0], second.inputs[0]))
        replace(dequantize.codes, cache)
        replace(dequantize.scales, scales)
        return _Written(cache, scales, _is_ring(first))

    def _write(self, anchor: ir.Node, new: ir.Value | None, past: tuple[ir.Value | None, ...]) -> list[ir.Value]:
        """A node that writes ``new`` into ``past`` (a cache, or codes and their scales), in front of ``anchor``."""
        attributes = {"ring": int(_is_ring(anchor))}
        node = ir.node("CacheWrite", [new, self.positions, *past], attributes, domain=DOMAIN, num_outputs=len(past))
        for output, old in zip(node.outputs, past, strict=True):
            output.type, output.shape = (old.type, old.shape) if old is not None else (None, None)
        return Builder(anchor).insert(node)


def _cast_from(value: ir.Value | None, dtype: ir.DataType) -> ir.Value | None:
    """What in ``dtype`` the value is the cast of; None when it is no such cast."""
    node = value.producer() if value is not None else None
    x = node.inputs[0] if node is not None and op_name(node) == "Cast" else None
    return x if x is not None and x.dtype == dtype else None


def _is_ring(scatter: ir.Node) -> bool:
    return scatter.attributes["mode"].as_string() == "circular"


def _query_places(site: DualRopeAttention, ring: bool, build: Builder) -> list[ir.Value]:
    """The positions [B, S] that the mask of ``site`` was made for, and the bounds of blocks if it has any: all cut as
    it was cut."""
    cut = site.mask.producer() if site.mask is not None else None
    whole, bounds = site.mask, list[ir.Value | None]()
    if cut is not None and op_name(cut) == "Slice":
        whole, *bounds = cut.inputs
    plain = (RingMask if ring else CausalMask).producing(whole)
    blocks = (RingBlockMask if ring else BlockMask).producing(whole)
    if plain is not None:
        places = [plain.position_ids]
    elif blocks is not None:
        places = [blocks.position_ids, blocks.block_starts, blocks.block_ends]
    else:
        raise MatchError(f"{describe(site.node)} has no mask that goes with its keys", where=LowerCachedAttention.name)
    if not bounds:
        return places
    axis, made = build.constant([1]), dict[ir.Value, ir.Value]()
    for place in places:  # two of them may be one value
        if place not in made:
            made[place] = build.op("Slice", place, *bounds[:2], axis)
    return [made[place] for place in places]


def _attend(site: DualRopeAttention, key: _Written, value: _Written) -> None:
    build = Builder(site.node)
    positions, *blocks = _query_places(site, key.ring, build)
    query = normed_queries(site, build)
    scales = [key.scales, value.scales] if key.scales is not None else []
    inputs: list[ir.Value | None] = [query, positions, key.cache, value.cache, *scales]
    if blocks:
        inputs += [*[None] * (2 - len(scales)), *blocks]
        if key.ring:
            _free_slots(key)
            _free_slots(value)
    attributes = {"scale": site.scale, "window": site.window, "ring": int(key.ring)}
    node = ir.node("Attention", inputs, attributes, domain=DOMAIN)
    node.outputs[0].type, node.outputs[0].shape = site.out.type, site.out.shape
    site.replace_by(*build.insert(node))


def _free_slots(written: _Written) -> None:
    """Leave the size of a ring to whoever feeds it."""
    node = written.cache.producer()
    assert node is not None  # a `CacheWrite`, made above
    for value in (*node.inputs[2:], *node.outputs):
        if value is not None:
            resize(value, 2, _SLOTS)
