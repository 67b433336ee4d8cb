"""Opaque ops: what stays one node through `torch.export`.

Attention and experts go through transformers' public registration hooks; the cache is any object with `update`. What a
hook does not use is refused by name, so that no model is taken for another. An attention name without a mask entry
makes the model build no masks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from transformers import AttentionInterface
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from g4compile.errors import Defect

IMPLEMENTATION = "g4"
BIDIRECTIONAL = "g4_bidirectional"  # attention of encoders
_ANY = object()
# What transformers passes beside the operands, with the values that change nothing. Positions are in the queries and
# keys already, which are rotated.
_ATTENTION = {"dropout": 0.0, "position_ids": _ANY}
_EXPERTS = {"has_gate": True, "has_bias": False, "is_transposed": False, "is_concatenated": True}
_LIBRARY = torch.library.Library("g4", "DEF")


def _define(signature: str, fake: Any) -> None:
    _LIBRARY.define(signature)
    name = signature.split("(", maxsplit=1)[0]
    torch.library.register_fake(f"g4::{name}", fake, lib=_LIBRARY)


_define(
    "attention(Tensor query, Tensor key, Tensor value, float scale, int window) -> Tensor",
    lambda query, key, value, scale, window: query.new_empty(
        query.shape[0], query.shape[2], query.shape[1], value.shape[3]
    ),
)
_define(
    "bidirectional_attention(Tensor query, Tensor key, Tensor value, float scale) -> Tensor",
    lambda query, key, value, scale: query.new_empty(query.shape[0], query.shape[2], query.shape[1], value.shape[3]),
)
_define("axial_rope(Tensor x, Tensor cos, Tensor sin) -> Tensor", lambda x, cos, sin: torch.empty_like(x))
_define(
    "relative_attention(Tensor query, Tensor key, Tensor value, Tensor relative, int window, float softcap) -> Tensor",
    lambda query, key, value, relative, window, softcap: torch.empty_like(value),
)
_define(
    "cache_update(Tensor new, Tensor past) -> Tensor",
    lambda new, past: new.new_empty(new.shape[0], new.shape[1], past.shape[2] + new.shape[2], new.shape[3]),
)
_define(
    "moe_experts(Tensor x, Tensor index, Tensor weight, Tensor gate_up, Tensor down) -> Tensor",
    lambda x, index, weight, gate_up, down: torch.empty_like(x),
)


def attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention of query [B, N, S, D] over key and value [B, K, P+S, D], as transformers' interface asks.

    The result is [B, S, N, D], without weights. Raises Defect for every argument that asks for something else.
    """
    _refuse_others("attention", {**others, "attention_mask": attention_mask}, {**_ATTENTION, "attention_mask": None})
    _refuse_others("attention", {"module.is_causal": getattr(module, "is_causal", None)}, {"module.is_causal": True})
    return torch.ops.g4.attention(query, key, value, float(scaling), int(sliding_window or 0)), None


def bidirectional_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of query [B, N, S, D] over all of key and value [B, K, T, D]; the result is [B, S, N, D], without
    weights. Raises Defect for a mask, and for every argument that asks for something else."""
    given = {**others, "attention_mask": attention_mask, "module.is_causal": getattr(module, "is_causal", None)}
    _refuse_others("attention", given, {"dropout": 0.0, "attention_mask": None, "module.is_causal": False})
    return torch.ops.g4.bidirectional_attention(query, key, value, float(scaling)), None


def axial_rope(
    x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, position_ids: torch.Tensor, **others: Any
) -> torch.Tensor:
    """In the place of transformers' `apply_multidimensional_rope`: x [B, S, N, D] turned by angles whose cos and sin
    are [B, S, 2, D/4], columns and rows of ``position_ids``. Raises Defect for every argument more."""
    _refuse_others("axial RoPE", others, {})
    out: torch.Tensor = torch.ops.g4.axial_rope(x, cos, sin)
    return out


def relative_attention(
    module: Any,
    hidden_states: torch.Tensor,
    position_embeddings: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """In the place of transformers' `Gemma4AudioAttention.forward`: hidden_states [B, S, H], position_embeddings
    [W+1, H] of the distances W to 0 -> [B, S, H], without weights. Raises Defect for a mask, and for every window and
    every argument that asks for something else."""
    window = module.chunk_size
    given = {**others, "attention_mask": attention_mask, "module.max_past_horizon": module.max_past_horizon}
    given |= {"module.max_future_horizon": module.max_future_horizon}
    given |= {"config.attention_invalid_logits_value": float(module.config.attention_invalid_logits_value)}
    allowed = {"attention_mask": None, "module.max_past_horizon": window, "module.max_future_horizon": 0}
    _refuse_others("attention of sounds", given, {**allowed, "config.attention_invalid_logits_value": -1e9})
    shape = (*hidden_states.shape[:2], module.num_heads, module.head_dim)
    projections = module.q_proj, module.k_proj, module.v_proj
    query, key, value = (project(hidden_states).float().view(shape) for project in projections)
    query = query * module.q_scale * torch.nn.functional.softplus(module.per_dim_scale)
    relative = module.relative_k_proj(position_embeddings).view(-1, *shape[2:]).to(query.dtype)
    softcap = float(module.attention_logits_soft_cap)
    attended = torch.ops.g4.relative_attention(query, key * module.k_scale, value, relative, window, softcap)
    return module.post(attended.flatten(2).to(hidden_states.dtype)), None


@contextmanager
def replaced(owner: Any, name: str, by: Any) -> Iterator[None]:
    """While it lasts, the function ``name`` of transformers' module or class ``owner`` is ``by``. Raises Defect when
    there is none."""
    original = getattr(owner, name, None)
    if original is None:
        raise Defect(f"transformers has no {name}", where=owner.__name__)
    setattr(owner, name, by)
    try:
        yield
    finally:
        setattr(owner, name, original)


def experts(
    module: Any, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor, **others: Any
) -> torch.Tensor:
    """Gated experts of hidden_states [T, H], each token by its top_k_index and top_k_weights [T, k] -> [T, H].

    ``module`` has gate_up_proj [E, 2I, H] and down_proj [E, H, I]. Raises Defect for another layout and for every
    argument more.
    """
    _refuse_others("experts", others, {})
    layout = {f"module.{name}": getattr(module, name, None) for name in _EXPERTS}
    _refuse_others("experts", layout, {f"module.{name}": value for name, value in _EXPERTS.items()})
    out: torch.Tensor = torch.ops.g4.moe_experts(
        hidden_states, top_k_index, top_k_weights, module.gate_up_proj, module.down_proj
    )
    return out


AttentionInterface.register(IMPLEMENTATION, attention)
AttentionInterface.register(BIDIRECTIONAL, bidirectional_attention)
ALL_EXPERTS_FUNCTIONS.register(IMPLEMENTATION, experts)


def _refuse_others(hook: str, given: Mapping[str, Any], allowed: Mapping[str, Any]) -> None:
    """Refuse by name what is not among ``allowed``, or has another value than stands there."""
    for name, value in given.items():
        if name not in allowed or (allowed[name] is not _ANY and not _is(value, allowed[name])):
            shown = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else repr(value)
            raise Defect(
                f"the model gives {hook} the argument {name}, which the trace would lose",
                where=f"{name} = {shown}",
                why=f"transformers {transformers.__version__} computes with more than this g4compile knows",
            )


def _is(value: Any, allowed: Any) -> bool:
    return type(value) is type(allowed) and bool(value == allowed)


class TraceCache:
    """Explicit past tensors in, present tensors out: a pair for each layer of ``owners``, in layer order.

    Keys and values are [B, K, P, D] before, [B, K, P+S, D] after.
    """

    is_compileable = False

    def __init__(self, past: list[tuple[torch.Tensor, torch.Tensor]], owners: tuple[int, ...]) -> None:
        self.past, self.owners = past, owners
        self.present: list[tuple[torch.Tensor, torch.Tensor]] = []

    def update(
        self, key: torch.Tensor, value: torch.Tensor, layer_idx: int, *more: Any, **others: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append the new keys and values [B, K, S, D] of a layer. Raises Defect out of order, or for more arguments."""
        _refuse_others("the cache", {**{f"number {4 + i}": one for i, one in enumerate(more)}, **others}, {})
        place = len(self.present)
        if self.owners[place : place + 1] != (layer_idx,):
            raise Defect(f"layer {layer_idx} updates the cache out of order", where=f"owners of KV: {self.owners}")
        past_key, past_value = self.past[place]
        pair = (torch.ops.g4.cache_update(key, past_key), torch.ops.g4.cache_update(value, past_value))
        self.present.append(pair)
        return pair
