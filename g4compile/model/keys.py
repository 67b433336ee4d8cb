"""Module path of the text model -> key in a published checkpoint."""

from __future__ import annotations

from g4compile.model.config import ModelFacts


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


def module_of_key(key: str) -> str:
    """`model.language_model.layers.0.mlp.up_proj.weight` -> `layers.0.mlp.up_proj`, as recipes name it."""
    return key.removeprefix("model.").removeprefix("language_model.").removesuffix(".weight")
