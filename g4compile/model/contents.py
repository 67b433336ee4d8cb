"""What a published checkpoint stores: key, shape and part of every tensor, from the config alone.

Parts: the decoder, and vision and audio with the projections of their outputs into the decoder's embeddings. Some
tensors are stored and read by no part. Keys are those on disk (`keys.py` has the two layouts). Tests compare this list
with that of transformers, a model on the meta device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from g4compile.model.config import ModelFacts
from g4compile.model.inventory import inventory
from g4compile.model.keys import checkpoint_key
from g4compile.model.towers import TowerFacts, audio_facts, vision_facts

DECODER, VISION, AUDIO, UNUSED = "decoder", "vision", "audio", "unused"
_MODULES = {VISION: ("vision_tower", "vision_embedder", "embed_vision"), AUDIO: ("audio_tower", "embed_audio")}
PARTS = {"image": VISION, "audio": AUDIO}  # modality -> the part that makes features of it
Shapes = dict[str, tuple[int, ...]]
# Scales of a quantised KV cache, which checkpoints of codes carry and transformers does not read either.
_CACHE_SCALES = (".k_cache_scale", ".v_cache_scale")


@dataclass(frozen=True)
class Contents:
    """``parts``: part -> key -> shape of the float tensor. ``unused``: stored, and read by no part. ``coded``: weights
    may be codes, which stand beside their scales under the module of the weight."""

    parts: Mapping[str, Shapes]
    unused: Shapes
    coded: bool

    def part_of(self, key: str) -> str | None:
        """The part that ``key`` belongs to, or `unused`; None when no part of this model knows it."""
        names = [key]
        if self.coded:
            if key.endswith(_CACHE_SCALES):
                return UNUSED
            names.append(f"{key.rpartition('.')[0]}.weight")
        owners = {**self.parts, UNUSED: self.unused}
        return next((part for part, shapes in owners.items() if any(name in shapes for name in names)), None)


def contents(facts: ModelFacts) -> Contents:
    """All that the published checkpoint of ``facts`` may store. Raises InputError for a field of a tower's config."""
    decoder = {checkpoint_key(weight.parameter, facts): weight.shape for weight in inventory(facts.text)}
    hidden = facts.text.hidden_size
    beside = {part: dict(tower.tensors(hidden)) for part, tower in tower_facts(facts).items()}
    unused = stale_of_shared(facts)
    if facts.text.tied:
        unused["lm_head.weight"] = (facts.text.vocab_size, hidden)
    return Contents({DECODER: decoder, **beside}, unused, facts.quantization is not None)


def tower_facts(facts: ModelFacts) -> dict[str, TowerFacts]:
    """Facts of the parts beside the decoder, by name: those that the config describes."""
    unified = facts.model_type == "gemma4_unified"
    found: dict[str, TowerFacts] = {}
    if "image" in facts.modalities:
        found[VISION] = vision_facts(facts.raw["vision_config"], unified)
    if "audio" in facts.modalities:
        found[AUDIO] = audio_facts(facts.raw["audio_config"], unified)
    return found


def part_of_module(name: str) -> str:
    """The part whose module ``name`` is, as recipes name it (a pattern too): the decoder's unless it begins with a
    module of an encoder."""
    return next((part for part, modules in _MODULES.items() if name.startswith(modules)), DECODER)


def stale_of_shared(facts: ModelFacts) -> Shapes:
    """Keys and values of layers that read another layer's: published checkpoints store them, and nothing reads them.

    Source: `Gemma4TextModel.__init__`, `_keys_to_ignore_on_load_unexpected`.
    """
    found: Shapes = {}
    for layer in facts.text.layers:
        if not layer.owns_kv:
            attention = checkpoint_key(f"model.layers.{layer.index}.self_attn", facts)
            width = layer.kv_heads * layer.head_dim
            found[f"{attention}.k_proj.weight"] = (width, facts.text.hidden_size)
            found[f"{attention}.v_proj.weight"] = (width, facts.text.hidden_size)
            found[f"{attention}.k_norm.weight"] = (layer.head_dim,)
    return found
