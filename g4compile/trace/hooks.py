"""Opaque ops: what stays one node through `torch.export`.

Attention and experts go through transformers' public registration hooks; the cache is any object with
`update` and `get_seq_length`. An attention name without a mask entry makes the model build no masks.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

IMPLEMENTATION = "g4"
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
    "cache_update(Tensor new, Tensor past) -> Tensor",
    lambda new, past: new.new_empty(new.shape[0], new.shape[1], past.shape[2] + new.shape[2], new.shape[3]),
)
_define(
    "moe_experts(Tensor x, Tensor index, Tensor weight, Tensor gate_up, Tensor down) -> Tensor",
    lambda x, index, weight, gate_up, down: torch.empty_like(x),
)


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float = 1.0,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    return torch.ops.g4.attention(query, key, value, float(scaling), int(sliding_window or 0)), None


def _experts(
    module: Any, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
) -> torch.Tensor:
    out: torch.Tensor = torch.ops.g4.moe_experts(
        hidden_states, top_k_index, top_k_weights, module.gate_up_proj, module.down_proj
    )
    return out


AttentionInterface.register(IMPLEMENTATION, _attention)
ALL_EXPERTS_FUNCTIONS.register(IMPLEMENTATION, _experts)


class TraceCache:
    """Explicit past tensors in, present tensors out, one pair for each layer that owns KV, in layer order."""

    is_compileable = False

    def __init__(self, past: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
        self.past = past
        self.present: list[tuple[torch.Tensor, torch.Tensor]] = []

    def get_seq_length(self, *_: Any) -> int:
        return 0

    def update(
        self, key: torch.Tensor, value: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        past_key, past_value = self.past[len(self.present)]
        pair = (torch.ops.g4.cache_update(key, past_key), torch.ops.g4.cache_update(value, past_value))
        self.present.append(pair)
        return pair
