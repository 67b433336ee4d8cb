"""fuse-cached-attention: attention, the caches it reads and writes, and the angles are ops of libg4cuda.

Before:                                                 After:
    q, k, v = g4.Linear (x, ..)                             a = g4.RotaryAngles (position_ids, inv_freq)
    cos = Cos (f);  sin = Sin (f)                           p = g4.Product (x, wq, wk, wv)
    nk, nv = g4.RopeKeyValue (k, v, k_norm, cos, sin)       y = g4.CachedAttention <writes = 1> (p, position_ids, a,
    keys = TensorScatter <circular> (past.key, nk, at)          q_norm, k_norm, past.key, past.value)
    mask = g4.RingMask (position_ids, keys)
    y = g4.DualRopeAttention (q, q_norm, cos, sin, keys, values, mask)

Caches are graph inputs that are written in place: no `present` leaves the graph. The first attention that reads a cache
writes it, from the x that it reads itself; the others read what it wrote, and stand behind it in the flow of the
residual stream. A sliding layer has a ring. Angles of p-RoPE are zeros behind a share of the dimensions, and are left
away. Source: transformers `Gemma4TextAttention.forward`, `docs/design/0010-onnx-cuda.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from g4compile.errors import MatchError
from g4compile.graph.axes import resize, static_size
from g4compile.graph.build import Builder
from g4compile.graph.edit import constant_array
from g4compile.graph.match import Any_, Ints, Miss, Node, match
from g4compile.graph.stage import describe, op_name
from g4compile.ops.causal_mask import CausalMask
from g4compile.ops.dual_rope_attention import DualRopeAttention
from g4compile.ops.linear import Linear
from g4compile.ops.ring_mask import RingMask
from g4compile.ops.rope_key_value import RopeKeyValue
from g4compile.passes.base import expect
from g4compile.targets.fused.operands import NARROW, WIDE, insert, leading, narrow
from g4compile.targets.fused.products import side_by_side

_POSITIONS = "position_ids"
_TOKENS = 2  # the axis of slots in a cache
_WIDENED = Node("Cast", Node("Unsqueeze", Any_("positions"), Ints(value=(-1,))))
_FREQUENCIES = Node("Mul", _WIDENED, Any_("inv_freq"), name="product")
_COS, _SIN = (Node(op, Any_("frequencies")) for op in ("Cos", "Sin"))
_FIRST = Node("Gather", Any_("positions"), Ints(value=(0,)), axis=1)
_IN_RING = Node("Mod", _FIRST, Ints("slots"))


@dataclass(frozen=True)
class FuseCachedAttention:
    """``layers``: how many attentions there are, or None. ``slots`` of full layers' caches; 0 leaves them free."""

    name: ClassVar[str] = "fuse-cached-attention"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)
    layers: int | None = None
    slots: int = 0

    def apply(self, model: ir.Model) -> None:
        graph = model.graph
        positions = next((value for value in graph.inputs if value.name == _POSITIONS), None)
        if positions is None:
            raise MatchError(f"the graph has no input {_POSITIONS} to place keys by", where=self.name)
        fusion = _Fusion(positions, self.slots)
        sites = DualRopeAttention.all_in(graph)
        for site in sites:
            fusion.fuse(site)
        expect(self.name, "attentions", len(sites), self.layers, f"no {DualRopeAttention.name()} is left")


@dataclass(frozen=True)
class _Cache:
    """What is written into ``key`` and ``value`` [B, kv heads, slots, D], inputs of the graph, and by which op.
    ``values``: as attentions read the second."""

    key: ir.Value
    value: ir.Value
    values: ir.Value
    writer: RopeKeyValue
    ring: bool


@dataclass
class _Fusion:
    """``written``: caches by their keys, as attentions read those. ``angles``: by the products with frequencies."""

    positions: ir.Value
    slots: int
    written: dict[ir.Value, _Cache] = field(default_factory=dict)
    angles: dict[ir.Value, ir.Value] = field(default_factory=dict)

    def fuse(self, site: DualRopeAttention) -> None:
        """Put one op in the place of ``site`` and of what it alone reads."""
        writes = site.key not in self.written
        cache = self._written(site) if writes else self.written[site.key]
        self._check(site, cache)
        build, width = Builder(site.node), static_size(site.query_norm, 0)
        projections = self._projections(site, cache.writer if writes else None)
        out = site.out
        made = insert(
            build,
            "CachedAttention",
            [
                self._product(projections, build),
                self.positions,
                self._angles(site),
                narrow(site.query_norm, FuseCachedAttention.name),
                narrow(cache.writer.key_norm, FuseCachedAttention.name) if writes else None,
                cache.key,
                cache.value,
            ],
            [(NARROW, out.shape)],
            heads=site.heads,
            kv_heads=cache.writer.kv_heads,
            head_dim=width,
            window=site.window,
            writes=int(writes),
            key_is_value=int(cache.writer.key_in is cache.writer.value_in),
            epsilon=site.epsilon,
        )
        site.replace_by(made[0])

    def _written(self, site: DualRopeAttention) -> _Cache:
        """The cache that ``site`` is the first to read; its inputs are bfloat16 from now on."""
        scatters = [one for value in (site.key, site.value) if (one := value.producer()) is not None and _in_place(one)]
        written = [scatter.inputs[1] for scatter in scatters]
        writer = RopeKeyValue.producing(written[0]) if written else None
        if writer is None or written != [writer.key, writer.value]:
            raise _refusal(site, f"{site.key.name} and {site.value.name} are not what one layer wrote in place")
        places = []
        for scatter in scatters:
            past, _, at = scatter.inputs
            if past is None or not past.is_graph_input() or at is None or not self._begins(at, scatter):
                raise _refusal(site, f"{describe(scatter)} does not write an input from the first position on")
            past.type = ir.TensorType(NARROW)
            if self.slots and not _is_ring(scatter):
                resize(past, 2, self.slots)
            places.append(past)
            self._keep_inside(scatter)
        cache = self.written[site.key] = _Cache(places[0], places[1], site.value, writer, _is_ring(scatters[0]))
        return cache

    def _begins(self, at: ir.Value, scatter: ir.Node) -> bool:
        """Whether ``at`` is the first new position, modulo the slots of a ring."""
        found = match(_IN_RING if _is_ring(scatter) else _FIRST, at)
        if isinstance(found, Miss) or found["positions"] is not self.positions:
            return False
        return not _is_ring(scatter) or found["slots"] == (static_size(scatter.outputs[0], 2),)

    @staticmethod
    def _keep_inside(scatter: ir.Node) -> None:
        """What ``scatter`` writes is no output of the graph any more."""
        graph, (output,) = Builder(scatter).graph, scatter.outputs
        if output.is_graph_output():
            graph.outputs.remove(output)

    def _check(self, site: DualRopeAttention, cache: _Cache) -> None:
        if site.value is not cache.values:
            raise _refusal(site, f"{site.key.name} and {site.value.name} are of two layers")
        mask = (RingMask if cache.ring else CausalMask).producing(site.mask)
        window = mask.window if isinstance(mask, RingMask) else 0
        if mask is None or mask.position_ids is not self.positions or window != site.window:
            raise _refusal(site, f"its mask is not that of the positions and its window of {site.window}")
        if site.scale != 1 or site.epsilon != cache.writer.epsilon:
            raise _refusal(
                site, f"its scale is {site.scale}, or its norms have an epsilon each", "kernels have 1, and one"
            )

    def _projections(self, site: DualRopeAttention, writer: RopeKeyValue | None) -> list[Linear]:
        """The products that give queries, and keys and values where ``site`` writes those too."""
        values = [site.query]
        if writer is not None:
            values += [writer.key_in] if writer.key_in is writer.value_in else [writer.key_in, writer.value_in]
        found = [Linear.producing(value) for value in values]
        products = [one for one in found if one is not None and one.x is (found[0] and found[0].x)]
        if len(products) < len(values):
            raise _refusal(site, "queries, keys and values are not products with one x")
        return products

    def _product(self, projections: Sequence[Linear], build: Builder) -> ir.Value:
        """All of ``projections``, side by side."""
        operands, format = side_by_side(projections, FuseCachedAttention.name)
        sizes = [*leading(projections[0].x), sum(static_size(one.y, -1) for one in projections)]
        return insert(build, "Product", [projections[0].x, *operands], [(NARROW, sizes)], **format)[0]

    def _angles(self, site: DualRopeAttention) -> ir.Value:
        """What queries and keys of ``site`` are rotated by: [B, S, 2, R/2]."""
        cos, sin = match(_COS, site.cos), match(_SIN, site.sin)
        same = not isinstance(cos, Miss) and not isinstance(sin, Miss) and cos["frequencies"] is sin["frequencies"]
        frequencies = cos["frequencies"] if same and not isinstance(cos, Miss) else None
        if frequencies in self.angles:
            return self.angles[frequencies]
        found = (
            match(_FREQUENCIES, frequencies) if frequencies is not None else Miss(0, "no cosine and sine of one value")
        )
        stored = None if isinstance(found, Miss) else constant_array(found["inv_freq"])
        if frequencies is None or isinstance(found, Miss) or stored is None or found["positions"] is not self.positions:
            raise _refusal(
                site, "its angles are not those of the positions", found.reason if isinstance(found, Miss) else ""
            )
        rotated = int(np.count_nonzero(stored))
        if site.rotary != static_size(site.query_norm, 0) or not stored[:rotated].all():
            raise _refusal(site, "its heads are reordered, or angles of 0 stand between others")
        build = Builder(found["product"])
        sizes = [*leading(frequencies), 2, rotated]
        kept = build.constant(stored[:rotated], WIDE)
        (self.angles[frequencies],) = insert(build, "RotaryAngles", [self.positions, kept], [(WIDE, sizes)])
        return self.angles[frequencies]


def _in_place(node: ir.Node) -> bool:
    return op_name(node) == "TensorScatter" and node.attributes["axis"].as_int() == _TOKENS


def _is_ring(scatter: ir.Node) -> bool:
    return scatter.attributes["mode"].as_string() == "circular"


def _refusal(site: DualRopeAttention, what: str, why: str = "") -> MatchError:
    return MatchError(f"{describe(site.node)} has no kernel: {what}", where=FuseCachedAttention.name, why=why)
