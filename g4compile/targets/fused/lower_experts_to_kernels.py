"""lower-experts-to-kernels: the router, the experts and the sum of what they give are ops of kernels.

Before:                                                  After:
    r = Mul (g4.RMSNorm (v, scale), factor)                  x, weights, slot_of, row_token, tile_expert =
    t, i = TopK (Softmax (g4.Linear (r, proj)), k)               g4.Router (v, scale, proj, expert_scale, pre)
    w = Mul (Div (t, ReduceSum (t)), Gather (s, i))          h = g4.RoutedGateUp (x, row_token, tile_expert, gate_up)
    x = g4.RMSNorm (v, pre)                                  o = g4.RoutedDown (h, row_token, tile_expert, down)
    e = g4.MoEExperts (x, i, w, gate_up, down)               d = g4.ExpertSum (dense, n1, o, slot_of, weights, n2)
    d = Add (g4.RMSNorm (dense, n1), g4.RMSNorm (e, n2))

The router computes in float32 from the stream; the rows of experts are grouped as `ops/expert_routing.py` says. How
many rows a tile has is chosen for the number of tokens of a run, so it is no attribute: `row_token` has as many times
more elements than `tile_expert`. Where ranks are summed behind the experts, the rows of a token are joined in front of
that sum by standard ops, and what follows stays as it is. Source: transformers `Gemma4TextRouter.forward`,
`Gemma4TextDecoderLayer.forward`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import MatchError
from g4compile.graph import edit
from g4compile.graph.axes import static_size
from g4compile.graph.build import Builder
from g4compile.graph.match import Any_, Bindings, Ints, Miss, Node, Number, Pattern, match
from g4compile.graph.stage import describe
from g4compile.ops.all_reduce import AllReduce
from g4compile.ops.linear import Linear
from g4compile.ops.moe_experts import MoEExperts
from g4compile.ops.rms_norm import RMSNorm
from g4compile.passes.base import expect
from g4compile.targets.fused.operands import INDEX, NARROW, WIDE, insert, narrow, weight

_NAME = "lower-experts-to-kernels"
_SLOTS = "slots"
_READ = Node("Mul", Node(RMSNorm, Any_("v"), Any_("scale"), name="norm"), Number("factor"))
_SHARES = Node("Softmax", Node(Linear, _READ, Any_("proj")), axis=-1)
_CHOSEN = Node("TopK", _SHARES, Ints("k"), axis=-1, largest=1, sorted=1, name="top")
_PARTS = Node("Div", _CHOSEN, Node("ReduceSum", _CHOSEN, Ints(value=(-1,)), keepdims=1))
_WEIGHTS = Node("Mul", _PARTS, Node("Gather", Any_("expert_scale"), Any_("index"), axis=0))
_BEFORE = Node(RMSNorm, Any_("v"), Any_("pre"), name="norm")
_DENSE = Node(RMSNorm, Any_("dense"), Any_("dense_norm"), name="norm")
_SUM = Node("Add", _DENSE, Node(RMSNorm, Any_("out"), Any_("expert_norm"), name="other"))


@dataclass(frozen=True)
class LowerExpertsToKernels:
    """``layers``: layers with experts; None accepts any number."""

    name: ClassVar[str] = _NAME
    stages: ClassVar[tuple[str, ...]] = ("quantized",)
    layers: int | None = None

    def apply(self, model: ir.Model) -> None:
        sites = MoEExperts.all_in(model.graph)
        for site in sites:
            _lower(site)
        expect(self.name, "layers with experts", len(sites), self.layers, f"no {MoEExperts.name()} is left")


def _lower(site: MoEExperts) -> None:
    """Put kernels in the place of ``site``, its router, and the sum that reads it."""
    route, before = _match(site, _WEIGHTS, site.weight), _match(site, _BEFORE, site.x)
    norms = [RMSNorm(one["norm"]) for one in (route, before)]
    joined = any(AllReduce.matches(reader) for reader in site.out.consumers())
    total = site.out if joined else _sum_behind(site)
    after = None if joined else _match(site, _SUM, total)
    if after is not None:
        norms += [RMSNorm(after[name]) for name in ("norm", "other")]
    top = route["top"]
    one_stream = route["v"] is before["v"] and (after is None or after["out"] is site.out)
    one_choice = route["index"] is site.index is top.outputs[1] and len({norm.epsilon for norm in norms}) == 1
    if not (one_stream and one_choice):
        raise _refusal(site, "router, experts and norms do not read one stream and one choice, with one epsilon")
    build, v, epsilon = Builder(site.node), route["v"], norms[0].epsilon
    x, shares, slot_of, *rows = _route(build, v, {**before, **route}, epsilon)
    out = _products(build, site, x, rows)
    if after is None:
        edit.replace(total, _joined(build, site, out, slot_of, shares))
        return
    last = total.producer()
    assert last is not None  # it was matched
    dense = [after["dense"], narrow(after["dense_norm"], _NAME)]
    operands = [*dense, out, slot_of, shares, narrow(after["expert_norm"], _NAME)]
    (made,) = insert(Builder(last), "ExpertSum", operands, [(NARROW, total.shape)], epsilon=epsilon)
    edit.replace(total, made)


def _products(build: Builder, site: MoEExperts, x: ir.Value, rows: list[ir.Value]) -> ir.Value:
    """Both products of the experts: a row a slot. ``rows``: row_token and tile_expert."""
    gate_up, down = weight(site.gate_up, _NAME), weight(site.down, _NAME)
    inner, width = static_size(site.gate_up, 1) // 2, static_size(site.down, 1)
    (hidden,) = insert(
        build, "RoutedGateUp", [x, *rows, gate_up.stored, gate_up.scales], [(NARROW, [_SLOTS, inner])], **gate_up.format
    )
    (out,) = insert(
        build, "RoutedDown", [hidden, *rows, down.stored, down.scales], [(NARROW, [_SLOTS, width])], **down.format
    )
    return out


def _joined(build: Builder, site: MoEExperts, out: ir.Value, slot_of: ir.Value, shares: ir.Value) -> ir.Value:
    """The sum over a token's rows of ``out``, each times its share, in the shape of the experts' result."""
    rows = build.cast(build.op("Gather", out, slot_of, axis=0), WIDE)
    terms = build.op("Mul", rows, build.op("Unsqueeze", shares, build.constant([-1])))
    total = build.op("ReduceSum", terms, build.constant([-2]), keepdims=0)
    joined = build.op("Reshape", total, build.op("Shape", site.x))
    joined.shape = site.out.shape
    return joined


def _route(build: Builder, v: ir.Value, found: Bindings, epsilon: float) -> list[ir.Value]:
    """What a router of the stream ``v`` gives."""
    (k,) = found["k"]
    weights = [narrow(found[name], _NAME) for name in ("scale", "proj", "expert_scale", "pre")]
    results = [
        (NARROW, v.shape),
        (WIDE, ["rows", k]),
        (INDEX, ["rows", k]),
        (INDEX, [_SLOTS]),
        (INDEX, ["tiles"]),
    ]
    return insert(build, "Router", [v, *weights], results, factor=found["factor"], k=k, epsilon=epsilon)


def _sum_behind(site: MoEExperts) -> ir.Value:
    """What adds the normed output of ``site`` to that of the dense MLP."""
    value = site.out
    for _ in ("the norm", "the sum"):
        readers = value.consumers()
        if len(readers) != 1:
            raise _refusal(site, f"{value.name} has {len(readers)} readers, not one")
        value = readers[0].outputs[0]
    return value


def _match(site: MoEExperts, pattern: Pattern, value: ir.Value) -> Bindings:
    found = match(pattern, value)
    if isinstance(found, Miss):
        raise _refusal(site, found.reason)
    return found


def _refusal(site: MoEExperts, why: str) -> MatchError:
    return MatchError(f"{describe(site.node)} has no kernel", where=_NAME, why=why)
