"""Random geometries of the Gemma 4 classes, each a whole `config.json`, from a seed."""

from __future__ import annotations

from typing import Any

import numpy as np

from g4compile.model import presets
from g4compile.model.config import FULL, SLIDING


def draw(seed: int) -> dict[str, Any]:
    """Head counts, windows, layer patterns, sharing, per-layer inputs, experts and ties, drawn independently.

    The last layer is always global, as every published model has it. Odd seeds are text-only checkpoints
    (`Gemma4ForCausalLM`, keys under `model.`), even ones carry a vision tower.
    """
    random = np.random.default_rng(seed)

    def pick(*options: Any) -> Any:
        return options[random.integers(len(options))]

    config = presets.config("tiny-31b")
    text = config["text_config"]
    layers = int(random.integers(2, 9))
    kinds = [pick(SLIDING, SLIDING, FULL) for _ in range(layers - 1)] + [FULL]
    # A shared layer needs an earlier owner of its own kind.
    shares = [n for n in range(layers) if set(kinds[layers - n :]) <= set(kinds[: layers - n])]
    kv_heads, ratio = pick(1, 2, 3), pick(1, 2, 4)
    heads = kv_heads * ratio
    key_is_value = pick(True, False)
    shared = pick(*shares)
    experts = pick(None, None, (3, 1), (4, 2), (8, 3), (6, 6))
    text.update(
        num_hidden_layers=layers,
        layer_types=kinds,
        num_kv_shared_layers=shared,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        num_global_key_value_heads=pick(*(k for k in (1, 2, 3, 4) if heads % k == 0)) if key_is_value else None,
        attention_k_eq_v=key_is_value,
        head_dim=pick(8, 16, 24),
        global_head_dim=pick(16, 32, 48),
        hidden_size=pick(32, 48, 80),
        intermediate_size=pick(48, 64, 100),
        use_double_wide_mlp=pick(True, False),
        sliding_window=pick(2, 3, 8, 13),
        # transformers 5.23 cannot run shared layers without per-layer inputs (`per_layer_inputs[:, ...]` of None).
        hidden_size_per_layer_input=pick(8, 20) if shared else pick(0, 8, 20),
        enable_moe_block=experts is not None,
        num_experts=experts and experts[0],
        top_k_experts=experts and experts[1],
        moe_intermediate_size=experts and pick(16, 20),
        final_logit_softcapping=pick(None, 30.0, 5.0),
        rms_norm_eps=pick(1e-6, 1e-5),
        vocab_size=1024,
        tie_word_embeddings=pick(True, False),
    )
    text["rope_parameters"][FULL]["partial_rotary_factor"] = pick(0.25, 0.5, 1.0)
    config["tie_word_embeddings"] = text["tie_word_embeddings"]
    if seed % 2:
        return {**text, "architectures": ["Gemma4ForCausalLM"], "model_type": "gemma4_text"}
    return config
