"""Published Gemma 4 geometries, and tiny ones of the same structure, as `config.json` dictionaries.

A preset is what the published `config.json` of that size says, written as the numbers that differ between
sizes. `tiny-*` keeps every structural feature (layer pattern, shared KV, K=V, experts, towers) at sizes that
run in milliseconds. Sources: the published configs of 12B and 31B, the conversion script in transformers'
gemma4 folder, and the exact parameter counts of the published checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Config = dict[str, Any]

_ROPE = {
    "full_attention": {"partial_rotary_factor": 0.25, "rope_theta": 1_000_000.0, "rope_type": "proportional"},
    "sliding_attention": {"rope_theta": 10_000.0, "rope_type": "default"},
}
_INIT = {"initializer_range": 0.02}
_PLAIN_ATTENTION = {"attention_bias": False, "attention_dropout": 0.0}


@dataclass(frozen=True)
class Scale:
    """What every config of one scale (published or tiny) has in common."""

    head_dim: int
    global_head_dim: int
    vocab_size: int
    dtype: str
    token_ids: Config


_PUBLISHED = Scale(
    256,
    512,
    262_144,
    "bfloat16",
    {
        "boi_token_id": 255_999,
        "boa_token_id": 256_000,
        "image_token_id": 258_880,
        "audio_token_id": 258_881,
        "eoi_token_id": 258_882,
        "eoa_token_id": 258_883,
        "eoa_token_index": 258_883,
        "video_token_id": 258_884,
        "eos_token_id": [1, 106],
    },
)
_TINY = Scale(
    16,
    32,
    1024,
    "float32",
    {
        "boi_token_id": 1001,
        "image_token_id": 1002,
        "eoi_token_id": 1003,
        "boa_token_id": 1004,
        "audio_token_id": 1005,
        "eoa_token_id": 1006,
        "eoa_token_index": 1006,
        "video_token_id": 1007,
        "eos_token_id": [1, 106],
    },
)


@dataclass(frozen=True)
class Text:
    """The numbers of one decoder. ``period`` sliding layers and one global layer, repeated."""

    hidden: int
    intermediate: int
    layers: int
    period: int
    heads: int
    kv_heads: int
    window: int
    positions: int
    global_kv_heads: int | None = None
    shared: int = 0
    double_wide: bool = False
    ple: int = 0
    experts: tuple[int, int, int] | None = None
    vision_bidirectional: bool = False
    softcap: float | None = 30.0
    model_type: str = "gemma4_text"

    def config(self, scale: Scale) -> Config:
        """The `text_config` dictionary."""
        kinds = [
            "full_attention" if (i + 1) % (self.period + 1) == 0 else "sliding_attention" for i in range(self.layers)
        ]
        experts, top_k, expert_width = self.experts or (None, None, None)
        return {
            **_PLAIN_ATTENTION,
            **_INIT,
            "attention_k_eq_v": self.global_kv_heads is not None,
            "bos_token_id": 2,
            "dtype": scale.dtype,
            "enable_moe_block": self.experts is not None,
            "eos_token_id": 1,
            "final_logit_softcapping": self.softcap,
            "global_head_dim": scale.global_head_dim,
            "head_dim": scale.head_dim,
            "hidden_activation": "gelu_pytorch_tanh",
            "hidden_size": self.hidden,
            "hidden_size_per_layer_input": self.ple,
            "intermediate_size": self.intermediate,
            "layer_types": kinds,
            "max_position_embeddings": self.positions,
            "model_type": self.model_type,
            "moe_intermediate_size": expert_width,
            "num_attention_heads": self.heads,
            "num_experts": experts,
            "num_global_key_value_heads": self.global_kv_heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.kv_heads,
            "num_kv_shared_layers": self.shared,
            "pad_token_id": 0,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {kind: dict(rope) for kind, rope in _ROPE.items()},
            "sliding_window": self.window,
            "tie_word_embeddings": True,
            "top_k_experts": top_k,
            "use_bidirectional_attention": "vision" if self.vision_bidirectional else None,
            "use_cache": True,
            "use_double_wide_mlp": self.double_wide,
            "vocab_size": scale.vocab_size,
            "vocab_size_per_layer_input": scale.vocab_size,
        }


def _tower(
    hidden: int,
    intermediate: int,
    layers: int,
    heads: int,
    patch: int,
    positions: int,
    clipped: bool,
    dtype: str,
) -> Config:
    """The ViT of E2B, E4B (768 wide, clipped linears) and 26B, 31B (1152 wide, standardised)."""
    head_dim = hidden // heads
    return {
        **_PLAIN_ATTENTION,
        **_INIT,
        "default_output_length": 280,
        "dtype": dtype,
        "global_head_dim": head_dim,
        "head_dim": head_dim,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "max_position_embeddings": 131_072,
        "model_type": "gemma4_vision",
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "num_key_value_heads": heads,
        "patch_size": patch,
        "pooling_kernel_size": 3,
        "position_embedding_size": positions,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_theta": 100.0, "rope_type": "default"},
        "standardize": not clipped,
        "use_clipped_linears": clipped,
    }


def _conformer(hidden: int, layers: int, heads: int, output: int, dtype: str) -> Config:
    return {
        **_INIT,
        "attention_chunk_size": 12,
        "attention_context_left": 13,
        "attention_context_right": 0,
        "attention_invalid_logits_value": -1e9,
        "attention_logit_cap": 50.0,
        "conv_kernel_size": 5,
        "dtype": dtype,
        "gradient_clipping": 1e10,
        "hidden_act": "silu",
        "hidden_size": hidden,
        "model_type": "gemma4_audio",
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "output_proj_dims": output,
        "residual_weight": 0.5,
        "rms_norm_eps": 1e-6,
        "subsampling_conv_channels": [128, 32],
        "use_clipped_linears": True,
    }


def _unified_vision(patch: int, embed: int, positions: int) -> Config:
    return {
        **_INIT,
        "mm_embed_dim": embed,
        "mm_posemb_size": positions,
        "model_patch_size": 3 * patch,
        "model_type": "gemma4_unified_vision",
        "num_soft_tokens": 280,
        "output_proj_dims": embed,
        "patch_size": patch,
        "pooling_kernel_size": 3,
        "rms_norm_eps": 1e-6,
    }


def _unified_audio(samples: int) -> Config:
    return {
        **_INIT,
        "audio_embed_dim": samples,
        "audio_samples_per_token": samples,
        "hidden_size": samples,
        "model_type": "gemma4_unified_audio",
        "output_proj_dims": samples,
        "rms_norm_eps": 1e-6,
    }


def _model(text: Text, scale: Scale, vision: Config, audio: Config | None, unified: bool = False) -> Config:
    return {
        "architectures": ["Gemma4UnifiedForConditionalGeneration" if unified else "Gemma4ForConditionalGeneration"],
        "audio_config": audio,
        "dtype": scale.dtype,
        **_INIT,
        "model_type": "gemma4_unified" if unified else "gemma4",
        "text_config": text.config(scale),
        "tie_word_embeddings": True,
        "vision_config": vision,
        "vision_soft_tokens_per_image": 280,
        **scale.token_ids,
    }


_UNIFIED = "gemma4_unified_text"
_TEXT = {
    "e2b": Text(1536, 6144, 35, 4, 8, 1, 512, 131_072, shared=20, double_wide=True, ple=256),
    "e4b": Text(2560, 10_240, 42, 5, 8, 2, 512, 131_072, shared=18, ple=256),
    "12b": Text(3840, 15_360, 48, 5, 16, 8, 1024, 262_144, 1, vision_bidirectional=True, model_type=_UNIFIED),
    "26b-a4b": Text(2816, 2112, 30, 5, 16, 8, 1024, 262_144, 2, experts=(128, 8, 704), vision_bidirectional=True),
    "31b": Text(5376, 21_504, 60, 5, 32, 16, 1024, 262_144, 4, vision_bidirectional=True),
}
_TINY_TEXT = {
    "e2b": Text(64, 128, 6, 2, 4, 1, 8, 1024, shared=3, double_wide=True, ple=8),
    "e4b": Text(64, 128, 6, 2, 4, 2, 8, 1024, shared=3, ple=8),
    "12b": Text(64, 128, 6, 2, 4, 2, 8, 1024, 1, vision_bidirectional=True, model_type=_UNIFIED),
    "26b-a4b": Text(64, 128, 6, 2, 4, 2, 8, 1024, 1, experts=(8, 2, 32), vision_bidirectional=True),
    "31b": Text(64, 128, 6, 2, 4, 2, 8, 1024, 1, vision_bidirectional=True),
}

NAMES: tuple[str, ...] = (*_TEXT, *(f"tiny-{name}" for name in _TINY_TEXT))


def config(name: str) -> Config:
    """The `config.json` of preset ``name`` (`e2b`, `tiny-31b`, ...), a fresh dictionary. Raises KeyError."""
    tiny = name.startswith("tiny-")
    size = name.removeprefix("tiny-")
    scale, text = (_TINY, _TINY_TEXT[size]) if tiny else (_PUBLISHED, _TEXT[size])
    if size == "12b":
        vision = _unified_vision(4, 64, 32) if tiny else _unified_vision(16, 3840, 1120)
        return _model(text, scale, vision, _unified_audio(40 if tiny else 640), unified=True)
    clipped = size in ("e2b", "e4b")
    if tiny:
        vision = _tower(32, 64, 2, 2, 4, 160, clipped, scale.dtype)
        audio = _conformer(32, 2, 2, 48, scale.dtype)
    else:
        vision = (
            _tower(768, 3072, 16, 12, 16, 10_240, True, scale.dtype)
            if clipped
            else _tower(1152, 4304, 27, 16, 16, 10_240, False, scale.dtype)
        )
        audio = _conformer(1024, 12, 8, 1536, scale.dtype)
    return _model(text, scale, vision, audio if clipped else None)
