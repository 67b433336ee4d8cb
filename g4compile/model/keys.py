"""Names of parameters in transformers' modules -> keys in a published checkpoint."""

from __future__ import annotations

import re

from g4compile.model.config import ModelFacts

# transformers' `conversion_mapping.py` for gemma4_unified, backwards.
_UNIFIED_ON_DISK = (
    (re.compile(r"embed_vision\.multimodal_embedder\.embedding_projection"), "embed_vision.embedding_projection"),
    (re.compile(r"embed_vision\.(patch_ln1|patch_dense|patch_ln2|pos_embedding|pos_norm)"), r"vision_embedder.\1"),
)


def checkpoint_key(module_path: str, facts: ModelFacts) -> str:
    """The key that stores ``module_path`` (a parameter of `Gemma4ForCausalLM`, such as `model.norm.weight`).

    Multimodal checkpoints hold the decoder under `model.language_model.`; text-only ones under `model.`. A tied
    `lm_head` is not stored: it is the embedding.
    """
    if module_path == "lm_head.weight" and facts.text.tied:
        module_path = "model.embed_tokens.weight"
    multimodal = facts.model_type in ("gemma4", "gemma4_unified")
    if multimodal and module_path.startswith("model."):
        return "model.language_model." + module_path.removeprefix("model.")
    return module_path


def stored_key(parameter: str, facts: ModelFacts) -> str:
    """The key that stores ``parameter`` of the whole model, such as `Gemma4ForConditionalGeneration` or
    `Gemma4ForCausalLM`: what transformers writes."""
    for pattern, name in _UNIFIED_ON_DISK if facts.model_type == "gemma4_unified" else ():
        parameter = pattern.sub(name, parameter)
    return parameter


def module_of_key(key: str) -> str:
    """`model.language_model.layers.0.mlp.up_proj.weight` -> `layers.0.mlp.up_proj`, as recipes name it."""
    return key.removeprefix("model.").removeprefix("language_model.").removesuffix(".weight")
