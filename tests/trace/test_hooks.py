"""What stands for attention, experts and the cache refuses, by name, whatever it does not use."""

from types import SimpleNamespace

import pytest
import torch

from g4compile.errors import Defect
from g4compile.trace.hooks import (
    TraceCache,
    attention,
    axial_rope,
    bidirectional_attention,
    experts,
    relative_attention,
    replaced,
)

QUERY, KEY = torch.empty(2, 4, 3, 8, device="meta"), torch.empty(2, 2, 5, 8, device="meta")
CAUSAL = SimpleNamespace(is_causal=True)
EXPERTS = {"has_gate": True, "has_bias": False, "is_transposed": False, "is_concatenated": True}


def attend(module=CAUSAL, mask=None, **others):
    return attention(module, QUERY, KEY, KEY, mask, scaling=1.0, **others)


def test_what_transformers_passes_is_taken():
    out, weights = attend(dropout=0.0, position_ids=torch.zeros(2, 3), sliding_window=4)
    assert out.shape == (2, 3, 4, 8) and weights is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("softcap", 50.0),
        ("dropout", 0.1),
        ("is_causal", False),
        ("is_causal", True),
        ("head_mask", torch.zeros(4)),
        ("s_aux", None),
        ("use_cache", True),
        ("cu_seq_lens_q", None),
    ],
)
def test_attention_refuses_what_it_does_not_use(name, value):
    with pytest.raises(Defect, match=f"gives attention the argument {name}, which the trace would lose"):
        attend(**{name: value})


def test_attention_refuses_a_mask():
    with pytest.raises(Defect, match=r"the argument attention_mask[\s\S]*a tensor of shape \(2, 1, 3, 5\)"):
        attend(mask=torch.zeros(2, 1, 3, 5))


@pytest.mark.parametrize("module", [SimpleNamespace(is_causal=False), SimpleNamespace()])
def test_attention_refuses_a_module_that_is_not_causal(module):
    with pytest.raises(Defect, match=r"the argument module\.is_causal"):
        attend(module)


def test_attention_needs_a_scale():
    with pytest.raises(TypeError, match="scaling"):
        attention(CAUSAL, QUERY, KEY, KEY, None)


def expert_module(**others):
    weights = {"gate_up_proj": torch.empty(4, 12, 8, device="meta"), "down_proj": torch.empty(4, 8, 6, device="meta")}
    return SimpleNamespace(**{**EXPERTS, **weights, **others})


ROUTED = (
    torch.empty(3, 8, device="meta"),
    torch.empty(3, 2, dtype=torch.long, device="meta"),
    torch.empty(3, 2, device="meta"),
)


def test_experts_of_the_known_layout_are_taken():
    assert experts(expert_module(), *ROUTED).shape == (3, 8)


@pytest.mark.parametrize("name", EXPERTS)
def test_experts_of_another_layout_are_refused(name):
    with pytest.raises(Defect, match=rf"gives experts the argument module\.{name}"):
        experts(expert_module(**{name: not EXPERTS[name]}), *ROUTED)


def test_experts_refuse_what_they_do_not_use():
    with pytest.raises(Defect, match="gives experts the argument router_logits"):
        experts(expert_module(), *ROUTED, router_logits=None)


def cache(*owners):
    return TraceCache([(KEY, KEY)] * len(owners), owners)


def test_the_cache_appends_in_the_order_of_owners():
    held, new = cache(0, 3), torch.empty(2, 2, 1, 8, device="meta")
    for layer in (0, 3):
        key, _ = held.update(new, new, layer)
        assert key.shape == (2, 2, 6, 8)
    assert len(held.present) == 2


@pytest.mark.parametrize("layer", [0, 4])
def test_a_layer_out_of_order_is_refused(layer):
    held = cache(0, 3)
    held.update(KEY, KEY, 0)
    with pytest.raises(Defect, match=f"layer {layer} updates the cache out of order"):
        held.update(KEY, KEY, layer)


def test_a_layer_more_than_there_are_is_refused():
    held = cache(0)
    held.update(KEY, KEY, 0)
    with pytest.raises(Defect, match="out of order"):
        held.update(KEY, KEY, 0)


def test_the_cache_refuses_what_it_does_not_use():
    with pytest.raises(Defect, match="gives the cache the argument number 4"):
        cache(0).update(KEY, KEY, 0, {"cache_position": None})
    with pytest.raises(Defect, match="gives the cache the argument cache_kwargs"):
        cache(0).update(KEY, KEY, 0, cache_kwargs={})


BOTH_WAYS = SimpleNamespace(is_causal=False)


def test_attention_without_a_mask():
    out, weights = bidirectional_attention(BOTH_WAYS, QUERY, KEY, KEY, None, scaling=1.0, dropout=0.0)
    assert out.shape == (2, 3, 4, 8) and weights is None


@pytest.mark.parametrize(
    ("module", "mask", "others", "name"),
    [
        (CAUSAL, None, {}, "module.is_causal"),
        (BOTH_WAYS, torch.zeros(2, 1, 3, 5), {}, "attention_mask"),
        (BOTH_WAYS, None, {"softcap": 50.0}, "softcap"),
        (BOTH_WAYS, None, {"sliding_window": 4}, "sliding_window"),
    ],
)
def test_attention_without_a_mask_refuses_what_it_does_not_use(module, mask, others, name):
    with pytest.raises(Defect, match=f"gives attention the argument {name}"):
        bidirectional_attention(module, QUERY, KEY, KEY, mask, scaling=1.0, **others)


def test_axial_rope_refuses_what_it_does_not_use():
    with pytest.raises(Defect, match="gives axial RoPE the argument unsqueeze_dim"):
        axial_rope(QUERY, QUERY, QUERY, QUERY, unsqueeze_dim=1)


def sound_module(**others):
    plain = {"chunk_size": 12, "max_past_horizon": 12, "max_future_horizon": 0}
    config = SimpleNamespace(attention_invalid_logits_value=others.pop("invalid", -1e9))
    return SimpleNamespace(config=config, **{**plain, **others})


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"max_past_horizon": 8}, "module.max_past_horizon"),
        ({"max_future_horizon": 1}, "module.max_future_horizon"),
        ({"invalid": -1.0}, "config.attention_invalid_logits_value"),
    ],
)
def test_attention_of_sounds_refuses_another_window(changes, name):
    with pytest.raises(Defect, match=rf"gives attention of sounds the argument {name}"):
        relative_attention(sound_module(**changes), QUERY, KEY)


def test_attention_of_sounds_refuses_what_it_does_not_use():
    with pytest.raises(Defect, match="gives attention of sounds the argument attention_mask"):
        relative_attention(sound_module(), QUERY, KEY, torch.zeros(1))
    with pytest.raises(Defect, match="gives attention of sounds the argument cache"):
        relative_attention(sound_module(), QUERY, KEY, cache=None)


def test_what_is_replaced_must_be_there_and_comes_back():
    owner = SimpleNamespace(__name__="module", function=len)
    with replaced(owner, "function", max):
        assert owner.function is max
    assert owner.function is len
    with pytest.raises(Defect, match="transformers has no other"), replaced(owner, "other", max):
        pass
