"""Plans of attention over a cache: keys split between programs for one token a sequence, blocks of queries for
more. FlashAttention is the latter alone, over caches that hold the new tokens already."""

from __future__ import annotations

import onnx_ir as ir

from g4compile.targets.fused.plan import ALWAYS, Plan
from g4compile.targets.fused.plans.operands import sizes, value
from g4compile.targets.kernels import attention_kernels as kernels
from g4compile.targets.kernels.attention_kernels import Heads

_BATCH = 64  # sequences of a run of one token each, at most
_ONE_TOKEN = f"i0.1*{_BATCH}+i0.0<="  # true for at most so many sequences above that of one token each
_PLACES = ("i5.2", "i2.3")  # slots of a cache, and half of the rotated dimensions


def cached_attention(node: ir.Node) -> Plan:
    heads = Heads(
        value(node, "heads"),
        value(node, "kv_heads"),
        value(node, "head_dim"),
        value(node, "window"),
        writes=bool(value(node, "writes")),
        key_is_value=bool(value(node, "key_is_value")),
        epsilon=value(node, "epsilon"),
    )
    width, group = heads.heads * heads.width, heads.heads // heads.kv_heads
    read = [f"i{index}" for index in range(7)]
    plan = Plan()
    for most, split in kernels.splits(heads):
        condition = f"{_ONE_TOKEN}{_BATCH + most}"
        partial = f"i0.0*{heads.kv_heads * split.programs * group * (heads.width + 2)}"
        _sizes(plan, condition, width, (), (partial,))
        plan.launch(condition, kernels.attend_split(heads, split), *read, "o0", "o2", *_PLACES, "r")
        plan.launch(condition, kernels.attend_merge(heads, split), "i1", "o0", "o2", "i0.0*i0.1")
    _sizes(plan, ALWAYS, width, ("i0.0", "i0.1", width), ())
    slots, half = _PLACES
    plan.launch(ALWAYS, kernels.heads_to_cache(heads), *read, "o1", slots, "i0.1", half, "r")
    plan.launch(ALWAYS, kernels.attend_tokens(heads), "o1", "i1", "i5", "i6", "o0", slots, "i0.1", "i0.0")
    return plan


def _sizes(plan: Plan, condition: str, width: int, query: tuple[str | int, ...], partial: tuple[str, ...]) -> None:
    """``query``, ``partial``: sizes of scratch; () where it is not used."""
    plan.size(condition, 0, "i0.0", "i0.1", width)
    plan.size(condition, 1, *query)
    plan.size(condition, 2, *partial)


def flash_attention(node: ir.Node) -> Plan:
    (_, _, heads, width), (_, kv_heads, _, _) = sizes(node, 0), sizes(node, 2)
    form = Heads(heads, kv_heads, width, window=0, writes=False, key_is_value=False, epsilon=0.0)
    plan, kernel = Plan(), kernels.attend_tokens(form, positions="*i32")
    plan.size(ALWAYS, 0, "i0.0", "i0.1", heads, width)
    plan.launch(ALWAYS, kernel, "i0", "i1", "i2", "i3", "o0", "i2.2", "i0.1", "i0.0")
    return plan
