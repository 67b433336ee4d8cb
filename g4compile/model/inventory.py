"""Every weight of a decoder, by name, shape and role, and its norms that have no weight, from typed facts alone.

What else a checkpoint stores is in `contents.py`. Names are those of `Gemma4ForCausalLM` without `model.` and
`.weight`, as recipes use them. Source: transformers `modeling_gemma4.py`. Tests compare the compiler's own graphs with
this list.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from g4compile.model.config import FULL, LayerFacts, TextFacts

# Roles. A gate is a product whose output goes through GELU and multiplies another; experts are stacked products.
NORM, GATE, PRODUCT, EXPERTS, LOOKUP, SCALE = "norm", "gate", "product", "experts", "lookup", "scale"
ROUTER = "router"  # a group
SMALL = "small"  # how a token reads norms and scales: whole, and in no product
_USES = {NORM: SMALL, SCALE: SMALL, GATE: PRODUCT, EXPERTS: PRODUCT}


@dataclass(frozen=True)
class Weight:
    """``shape``: [rows, columns], experts in front, or one axis. ``group``: what its bytes are counted under. ``role``:
    what it does; a tied embedding, which is looked up and multiplied, is a product.

    ``share`` of it is read for one token (experts: top-k of all). ``tail``: it stands behind the last layer that
    writes K and V, so a prefill reads it for the last position only.
    """

    module: str
    shape: tuple[int, ...]
    group: str
    role: str
    share: float = 1.0
    tail: bool = False

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def use(self) -> str:
        """How a token reads it: product, lookup or small."""
        return _USES.get(self.role, self.role)

    @property
    def parameter(self) -> str:
        """Its name in `Gemma4ForCausalLM`: `model.layers.0.mlp.up_proj.weight`."""
        if self.module == "lm_head":
            return "lm_head.weight"
        bare = self.role in (SCALE, EXPERTS)
        return f"model.{self.module}" if bare else f"model.{self.module}.weight"


def inventory(text: TextFacts) -> list[Weight]:
    """All weights of the decoder; a tied `lm_head` is the embedding, listed once."""
    hidden, ple = text.hidden_size, text.ple_dim
    role = PRODUCT if text.tied else LOOKUP
    found = [Weight("embed_tokens", (text.vocab_size, hidden), "embedding", role, tail=text.tied)]
    if ple:
        width = len(text.layers) * ple
        found += [
            Weight("embed_tokens_per_layer", (text.per_layer_vocab_size, width), "per_layer_embedding", LOOKUP),
            Weight("per_layer_model_projection", (width, hidden), "per_layer_input", PRODUCT),
            Weight("per_layer_projection_norm", (ple,), "norms", NORM),
        ]
    for layer in text.layers:
        found += _layer(text, layer)
    found.append(Weight("norm", (hidden,), "norms", NORM, tail=True))
    if not text.tied:
        found.append(Weight("lm_head", (text.vocab_size, hidden), "lm_head", PRODUCT, tail=True))
    return found


def _layer(text: TextFacts, layer: LayerFacts) -> Iterator[Weight]:
    name, hidden, tail = f"layers.{layer.index}", text.hidden_size, layer.index >= text.last_producer
    queries, keys = text.heads * layer.head_dim, layer.kv_heads * layer.head_dim

    def product(module: str, rows: int, columns: int, group: str, tail: bool = tail) -> Weight:
        role = GATE if module in ("mlp.gate_proj", "per_layer_input_gate") else PRODUCT
        return Weight(f"{name}.{module}", (rows, columns), group, role, tail=tail)

    def norm(module: str, size: int) -> Weight:
        return Weight(f"{name}.{module}", (size,), "norms", NORM, tail=tail)

    def scale(module: str, size: int, group: str) -> Weight:
        return Weight(f"{name}.{module}", (size,), group, SCALE, tail=tail)

    yield product("self_attn.q_proj", queries, hidden, "attention")
    yield norm("self_attn.q_norm", layer.head_dim)
    if layer.owns_kv:
        yield product("self_attn.k_proj", keys, hidden, "attention", tail=False)
        yield norm("self_attn.k_norm", layer.head_dim)
        if not (text.key_is_value and layer.kind == FULL):
            yield product("self_attn.v_proj", keys, hidden, "attention", tail=False)
    yield product("self_attn.o_proj", hidden, queries, "attention")
    for module in ("gate_proj", "up_proj"):
        yield product(f"mlp.{module}", layer.intermediate_size, hidden, "mlp")
    yield product("mlp.down_proj", hidden, layer.intermediate_size, "mlp")
    for place in ("input", "post_attention", "pre_feedforward", "post_feedforward"):
        yield norm(f"{place}_layernorm", hidden)
    yield scale("layer_scalar", 1, "norms")
    if text.ple_dim:
        yield product("per_layer_input_gate", text.ple_dim, hidden, "per_layer_input")
        yield product("per_layer_projection", hidden, text.ple_dim, "per_layer_input")
        yield norm("post_per_layer_input_norm", hidden)
    if text.moe:
        moe, share = text.moe, text.moe.top_k / text.moe.experts
        yield product("router.proj", moe.experts, hidden, ROUTER)
        yield scale("router.scale", hidden, ROUTER)
        yield scale("router.per_expert_scale", moe.experts, ROUTER)
        sizes = {"gate_up_proj": (2 * moe.intermediate_size, hidden), "down_proj": (hidden, moe.intermediate_size)}
        for module, size in sizes.items():
            yield Weight(f"{name}.experts.{module}", (moe.experts, *size), "experts", EXPERTS, share, tail)
        for place in ("post_feedforward_layernorm_1", "post_feedforward_layernorm_2", "pre_feedforward_layernorm_2"):
            yield norm(place, hidden)


def scale_free_norms(text: TextFacts) -> list[str]:
    """Norms without a weight, by module: of the values of a layer that owns KV, and of what a router reads."""
    values = [f"layers.{layer.index}.self_attn.v_norm" for layer in text.kv_layers]
    routers = [f"layers.{layer.index}.router.norm" for layer in text.layers] if text.moe else []
    return values + routers
