"""transformers' class names by model type. Names alone: nothing here imports transformers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Classes:
    """``config`` and ``model`` of a whole checkpoint; ``model`` is what a config that names no architecture means."""

    config: str
    model: str


# A checkpoint's `model_type` -> its classes. The text types are also what a multimodal config nests.
CLASSES = {
    "gemma4": Classes("Gemma4Config", "Gemma4ForConditionalGeneration"),
    "gemma4_unified": Classes("Gemma4UnifiedConfig", "Gemma4UnifiedForConditionalGeneration"),
    "gemma4_text": Classes("Gemma4TextConfig", "Gemma4ForCausalLM"),
    "gemma4_unified_text": Classes("Gemma4UnifiedTextConfig", "Gemma4UnifiedForCausalLM"),
}
# A multimodal `model_type` -> that of the decoder in it.
TEXT_TYPES = {"gemma4": "gemma4_text", "gemma4_unified": "gemma4_unified_text"}
