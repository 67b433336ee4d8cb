"""The fields of a config, one table an object: type, range, and the default of transformers.

Listed are the fields that g4compile reads, and those of which transformers makes the modules. A range is wide: it
bounds memory and time, and leaves room beyond every published size. What two fields say together is checked in
`config.py`. Sources: transformers `configuration_gemma4.py` and `configuration_gemma4_unified.py`.
"""

from __future__ import annotations

from typing import Any

from g4compile.model.fields import Field, Table, array, either, exactly, flag, integer, number, record, word

SLIDING, FULL = "sliding_attention", "full_attention"
ROPE_TYPES = ("default", "proportional")
LAYERS, WIDTH, HEADS, TOKENS = 1024, 1 << 20, 1024, 1 << 24  # the most of each

_TOKEN = integer(0, TOKENS)
_TOKENS = either(_TOKEN, array(_TOKEN, 1, 64)).or_null()
_DTYPE = word("bfloat16", "float16", "float32").or_null()
_WIDTH = integer(1, WIDTH)
_EPSILON = number(1e-12, 0.1).otherwise(1e-6)
_COMMON: dict[str, Field] = {
    "dtype": _DTYPE,
    "torch_dtype": _DTYPE,
    "initializer_range": number(0, 1).or_null(0.02),
}

# Fields of the whole file, of a text model as of a multimodal one. None: left out.
FILE: Table = {
    **_COMMON,
    "architectures": array(Field("a string", lambda value: isinstance(value, str)), 0, 1).or_null(),
    "eos_token_id": _TOKENS,
    "quantization_config": record().or_null(),
    "tie_word_embeddings": flag().otherwise(None),
}
# Ids of tokens that stand for outputs of encoders, with transformers' defaults; then those around them.
PLACEHOLDERS: Table = {
    "image_token_id": _TOKEN.or_null(258_880),
    "video_token_id": _TOKEN.or_null(258_884),
    "audio_token_id": _TOKEN.or_null(258_881),
}
_AROUND = ("boi_token_id", "eoi_token_id", "boa_token_id", "eoa_token_id", "eoa_token_index")
MULTIMODAL: Table = {
    "text_config": record(),
    "vision_config": record().or_null(),
    "audio_config": record().or_null(),
    **PLACEHOLDERS,
    **dict.fromkeys(_AROUND, _TOKEN.or_null()),
}
MODEL_TOKENS = (*PLACEHOLDERS, *_AROUND)

TEXT_TOKENS = ("pad_token_id", "bos_token_id", "eos_token_id")
_TEXT: Table = {
    **_COMMON,
    "attention_bias": exactly(False),
    "attention_dropout": number(0, 1).or_null(),
    "attention_k_eq_v": flag().otherwise(False),
    "bos_token_id": _TOKEN.or_null(2),
    "enable_moe_block": flag().otherwise(False),
    "eos_token_id": _TOKENS.otherwise(1),
    "final_logit_softcapping": number(1e-3, 1e6).or_null(),
    "global_head_dim": integer(2, 4096, step=2).otherwise(512),
    "head_dim": integer(2, 4096, step=2),
    "hidden_activation": exactly("gelu_pytorch_tanh"),
    "hidden_size": integer(1, 1 << 16),
    "hidden_size_per_layer_input": integer(0, 1 << 16).otherwise(256),
    "intermediate_size": _WIDTH,
    "layer_types": array(word(SLIDING, FULL), 1, LAYERS),
    "max_position_embeddings": integer(1, TOKENS),
    "moe_intermediate_size": _WIDTH.or_null(),
    "num_attention_heads": integer(1, HEADS),
    "num_experts": integer(1, 4096).or_null(),
    "num_global_key_value_heads": integer(1, HEADS).or_null(),
    "num_hidden_layers": integer(1, LAYERS),
    "num_key_value_heads": integer(1, HEADS),
    "num_kv_shared_layers": integer(0, LAYERS).otherwise(0),
    "pad_token_id": _TOKEN.or_null(0),
    "per_layer_config": record().otherwise(None),
    "rms_norm_eps": _EPSILON,
    "rope_parameters": record().or_null(),
    "sliding_window": integer(1, WIDTH).otherwise(512),
    "tie_word_embeddings": flag().otherwise(None),
    "top_k_experts": integer(1, 4096).or_null(),
    "use_bidirectional_attention": word("vision").or_null(),
    "use_cache": flag().otherwise(True),
    "use_double_wide_mlp": flag().otherwise(False),
    "vocab_size": integer(1, TOKENS),
    "vocab_size_per_layer_input": integer(0, TOKENS).otherwise(262_144),
}
# By the model type of a decoder. 12B's has neither per-layer embeddings nor experts.
TEXT: dict[str, Table] = {
    "gemma4_text": _TEXT,
    "gemma4_unified_text": {
        **_TEXT,
        "enable_moe_block": exactly(False),
        "hidden_size_per_layer_input": exactly(0),
        "sliding_window": integer(1, WIDTH).otherwise(1024),
    },
}

# What a layer may have of its own. Left out: the decoder's.
LAYER: Table = {"head_dim": _TEXT["head_dim"].otherwise(None), "num_key_value_heads": integer(1, HEADS).otherwise(None)}
ROPE: Table = {
    "factor": number(1e-3, 1e6).otherwise(1.0),
    "partial_rotary_factor": number(0, 1).otherwise(1.0),
    "rope_theta": number(1, 1e12),
    "rope_type": word(*ROPE_TYPES),
}
# The parameters that transformers takes where a config has none.
ROPE_DEFAULTS: dict[str, dict[str, Any]] = {
    SLIDING: {"rope_type": "default", "rope_theta": 10_000.0},
    FULL: {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1_000_000.0},
}

_TOWER: dict[str, Field] = {**_COMMON, "rms_norm_eps": _EPSILON}
VISION: Table = {
    **_TOWER,
    "attention_bias": exactly(False),
    "attention_dropout": number(0, 1).or_null(),
    "head_dim": integer(4, 4096, step=4).otherwise(64),  # half of a head for each of two axes, in pairs
    "hidden_activation": exactly("gelu_pytorch_tanh"),
    "hidden_size": _WIDTH.otherwise(768),
    "intermediate_size": _WIDTH.otherwise(3072),
    "model_type": exactly("gemma4_vision"),
    "num_attention_heads": integer(1, HEADS).otherwise(12),
    "num_hidden_layers": integer(1, LAYERS).otherwise(16),
    "num_key_value_heads": integer(1, HEADS).otherwise(12),
    "patch_size": integer(1, 1024).otherwise(16),
    "pooling_kernel_size": integer(1, 64).otherwise(3),
    "position_embedding_size": _WIDTH.otherwise(10_240),
    "rope_parameters": record().or_null(),
    "standardize": flag().otherwise(False),
    "use_clipped_linears": flag().otherwise(False),
}
PATCHES: Table = {  # 12B's vision
    **_TOWER,
    "mm_embed_dim": _WIDTH.otherwise(3840),
    "mm_posemb_size": _WIDTH.otherwise(1120),
    "model_type": exactly("gemma4_unified_vision"),
    "output_proj_dims": _WIDTH.otherwise(3840),
    "patch_size": integer(1, 1024).otherwise(16),
    "pooling_kernel_size": integer(1, 64).otherwise(3),
}
AUDIO: Table = {
    **_TOWER,
    "attention_chunk_size": _WIDTH.otherwise(12),
    "attention_context_left": _WIDTH.otherwise(13),
    "attention_context_right": integer(0, WIDTH).otherwise(0),
    "attention_invalid_logits_value": number(-1e30, 0).otherwise(-1e9),
    "attention_logit_cap": number(1e-3, 1e6).otherwise(50.0),
    "conv_kernel_size": integer(1, 1024).otherwise(5),
    "gradient_clipping": number(0, 1e30).otherwise(1e10),
    "hidden_act": exactly("silu"),
    "hidden_size": _WIDTH.otherwise(1024),
    "model_type": exactly("gemma4_audio"),
    "num_attention_heads": integer(1, HEADS).otherwise(8),
    "num_hidden_layers": integer(1, LAYERS).otherwise(12),
    "output_proj_dims": _WIDTH.otherwise(1536),
    "residual_weight": number(-1e3, 1e3).otherwise(0.5),
    "subsampling_conv_channels": array(integer(4, 1 << 16), 2, 2).otherwise((128, 32)),
    "use_clipped_linears": flag().otherwise(True),
}
WAVE: Table = {  # 12B's audio
    **_TOWER,
    "audio_embed_dim": _WIDTH.otherwise(640),
    "model_type": exactly("gemma4_unified_audio"),
}
