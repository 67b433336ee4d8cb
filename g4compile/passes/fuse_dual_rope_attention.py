"""fuse-dual-rope-attention: a layer's norms, rotations and attention become one op for keys and values, one for
queries.

Before (one sliding layer; rot(x) stands for Concat (Neg (Slice (x, D/2, end)), Slice (x, 0, D/2))):
    q0 = g4.RMSNorm (Reshape (q, [0, 0, N, D]), q_norm)
    q1 = Add (Mul (q0, Unsqueeze (cos)), Mul (rot (q0), Unsqueeze (sin)))
    k0 = g4.RMSNorm (Reshape (k, [0, 0, K, D]), k_norm)
    k1 = Add (Mul (k0, Unsqueeze (cos)), Mul (rot (k0), Unsqueeze (sin)))
    v0 = g4.RMSNorm:no_scale (Reshape (v, [0, 0, K, D]))
    K  = g4.CacheUpdate (Transpose (k1), past_key)
    V  = g4.CacheUpdate (Transpose (v0), past_value)
    a  = g4.CausalAttention <window = 512> (Transpose (q1), K, V)
    y  = Reshape (a, [0, 0, N*D])
After:
    k1, v1 = g4.RopeKeyValue <kv_heads = K> (k, v, k_norm, half_cos, half_sin)
    K  = g4.CacheUpdate (k1, past_key)
    V  = g4.CacheUpdate (v1, past_value)
    y  = g4.DualRopeAttention:no_mask <heads = N, window = 512> (q, q_norm, half_cos, half_sin, K, V)

The angles of both halves are equal, so cos and sin are computed on one half: `Cos (Concat (f, f))` becomes
`Cos (f)`. Layers that share KV read the producer's K and V. Where k is v (12B, 26B, 31B global layers) both
operands of `RopeKeyValue` are the one projection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.graph import edit
from g4compile.graph.build import Builder
from g4compile.graph.match import Any_, Bindings, Ints, Miss, Node, Skip, match
from g4compile.ops.cache_update import CacheUpdate
from g4compile.ops.causal_attention import CausalAttention
from g4compile.ops.dual_rope_attention import DualRopeAttention
from g4compile.ops.rms_norm import RMSNorm
from g4compile.ops.rope_key_value import RopeKeyValue
from g4compile.passes.base import expect

_HEADS_FIRST = (0, 2, 1, 3)
_END = 2**63 - 1


def _angle(function: str) -> Node:
    """cos or sin of angles that are the same list twice, spread over the heads."""
    return Node(
        "Unsqueeze",
        Skip("Cast", Node(function, Node("Concat", Any_("angles"), Any_("angles"), axis=-1))),
        Ints(value=(-2,)),
    )


_SPLIT = Node("Reshape", Any_("projected"), Ints("split"))
_NORMED = Node(RMSNorm, _SPLIT, Any_("scale"), name="norm", value="x")
_LOW = Node("Slice", Any_("x"), Ints(value=(0,)), Ints("half"), Ints(value=(-1,)))
_HIGH = Node("Slice", Any_("x"), Ints("half"), Ints(value=(_END,)), Ints(value=(-1,)))
_ROTATE_HALF = Node("Concat", Node("Neg", _HIGH), _LOW, axis=-1)
_ROTATED = Node("Add", Node("Mul", _NORMED, _angle("Cos")), Node("Mul", _ROTATE_HALF, _angle("Sin")))
_QUERY = Node("Transpose", _ROTATED, perm=_HEADS_FIRST)
_KEY = Node(CacheUpdate, Node("Transpose", _ROTATED, perm=_HEADS_FIRST, value="new"), Any_("past"), name="update")
_VALUE = Node(
    CacheUpdate,
    Node("Transpose", Node(RMSNorm, _SPLIT, name="norm"), perm=_HEADS_FIRST, value="new"),
    Any_("past"),
)


@dataclass(frozen=True)
class FuseDualRopeAttention:
    """``layers``: attentions the model has; ``producers``: layers that own KV. None accepts any number."""

    name: ClassVar[str] = "fuse-dual-rope-attention"
    stages: ClassVar[tuple[str, ...]] = ("canonical",)
    layers: int | None = None
    producers: int | None = None

    def apply(self, model: ir.Model) -> None:
        nearest = Miss(-1, f"no {CausalAttention.name()} is left")
        layers, producers = 0, 0
        sites = CausalAttention.all_in(model.graph)
        for key, value in dict.fromkeys((site.key, site.value) for site in sites):
            miss = _fuse_producer(key, value)
            producers += miss is None
            nearest = max(nearest, miss or nearest, key=lambda miss: miss.depth)
        for site in sites:
            miss = _fuse_attention(site)
            layers += miss is None
            nearest = max(nearest, miss or nearest, key=lambda miss: miss.depth)
        expect(self.name, "layers that own keys and values", producers, self.producers, nearest.reason)
        expect(self.name, "attention layers", layers, self.layers, nearest.reason)


def _match_rotation(pattern: Node, value: ir.Value) -> Bindings | Miss:
    """Match a rotated projection, whose pairs must be half a head apart."""
    found = match(pattern, value)
    if isinstance(found, dict) and found["split"][-1] != 2 * found["half"][0]:
        return Miss(
            10, f"half of the head dimension is {found['split'][-1] // 2}, the rotation splits at {found['half'][0]}"
        )
    return found


def _fuse_attention(site: CausalAttention) -> Miss | None:
    query = _match_rotation(_QUERY, site.query)
    if isinstance(query, Miss):
        return query
    heads, width = query["split"][2:]
    readers = site.out.consumers()
    merge = Node("Reshape", Any_("attended"), Ints(value=(0, 0, heads * width)))
    merged = (
        match(merge, readers[0].outputs[0])
        if len(readers) == 1
        else Miss(0, f"{len(readers)} nodes read the attention {site.node.name}")
    )
    if isinstance(merged, Miss):
        return merged
    builder = Builder(site.node)
    out = DualRopeAttention.insert(
        builder,
        query["projected"],
        query["scale"],
        *_half_angles(builder, query),
        site.key,
        site.value,
        heads=heads,
        epsilon=RMSNorm.of(query["norm"]).epsilon,
        scale=site.scale,
        window=site.window,
        rotary=width,
    )
    edit.replace(readers[0].outputs[0], out)
    return None


def _fuse_producer(key: ir.Value, value: ir.Value) -> Miss | None:
    keys, values = _match_rotation(_KEY, key), match(_VALUE, value)
    if isinstance(keys, Miss):
        return keys
    if isinstance(values, Miss):
        return values
    epsilon = RMSNorm.of(keys["norm"]).epsilon
    if RMSNorm.of(values["norm"]).epsilon != epsilon or keys["split"] != values["split"]:
        return Miss(
            9, f"key and value of {key.name} differ in epsilon or in heads: {keys['split']} and {values['split']}"
        )
    builder = Builder(keys["update"])
    operands = [keys["projected"], values["projected"], keys["scale"], *_half_angles(builder, keys)]
    new_key, new_value = RopeKeyValue.insert_all(
        builder, *operands, kv_heads=keys["split"][2], epsilon=epsilon, rotary=keys["split"][3]
    )
    edit.replace(keys["new"], new_key)
    edit.replace(values["new"], new_value)
    return None


def _half_angles(builder: Builder, rotation: Bindings) -> list[ir.Value]:
    """cos and sin of one half, in the dtype of what they rotate; equal ones are merged by `canonicalize-dead-code`."""
    halves = [builder.op(function, rotation["angles"]) for function in ("Cos", "Sin")]
    return [builder.cast(half, rotation["projected"].dtype) for half in halves]
