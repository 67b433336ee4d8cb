"""HF `config.json` -> typed facts, per layer. The only file that reads HF configs.

Both published layouts are understood: the flat one (`global_head_dim`, `num_global_key_value_heads`) and the
one transformers 5.15 and newer writes (`per_layer_config: {"05": {...}}`). Nothing here imports transformers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g4compile.errors import InputError
from g4compile.model import presets
from g4compile.model.classes import CLASSES, TEXT_TYPES

SLIDING, FULL = "sliding_attention", "full_attention"
_ROPE_TYPES = ("default", "proportional")
# Token ids that stand for encoder outputs, with transformers' defaults.
_PLACEHOLDERS = {"image_token_id": 258_880, "video_token_id": 258_884, "audio_token_id": 258_881}
_ASSISTANTS = ("gemma4_assistant", "gemma4_unified_assistant")


@dataclass(frozen=True)
class LayerFacts:
    """One decoder layer. ``kv_source`` is the layer whose K and V it reads: itself when it owns them."""

    index: int
    kind: str
    head_dim: int
    kv_heads: int
    intermediate_size: int
    kv_source: int
    window: int | None

    @property
    def owns_kv(self) -> bool:
        return self.kv_source == self.index


@dataclass(frozen=True)
class MoEFacts:
    experts: int
    top_k: int
    intermediate_size: int


@dataclass(frozen=True)
class TextFacts:
    """A decoder, as far as compiling and running it needs to know."""

    model_type: str
    hidden_size: int
    vocab_size: int
    heads: int
    layers: tuple[LayerFacts, ...]
    ple_dim: int
    per_layer_vocab_size: int
    moe: MoEFacts | None
    key_is_value: bool
    softcap: float | None
    max_positions: int
    dtype: str
    pad_token_id: int
    bos_token_id: int
    eos_token_ids: tuple[int, ...]
    tied: bool

    @property
    def kv_layers(self) -> tuple[LayerFacts, ...]:
        """The layers that own a KV cache, in order."""
        return tuple(layer for layer in self.layers if layer.owns_kv)

    @property
    def last_producer(self) -> int:
        """Index of the last layer that writes K and V: past it, positions no logit asks for are dead."""
        return self.kv_layers[-1].index


@dataclass(frozen=True)
class ModelFacts:
    """A checkpoint's config: its decoder, and the other modalities it has weights for.

    ``placeholder_ids``: tokens that a multimodal model embeds as padding, to put encoder outputs in their place.
    ``quantization``: `gemma` when the weights are stored as codes, None when they are in float.
    """

    model_type: str
    architecture: str
    text: TextFacts
    modalities: tuple[str, ...]
    placeholder_ids: tuple[int, ...]
    quantization: str | None
    raw: Mapping[str, Any]

    @property
    def text_config(self) -> Mapping[str, Any]:
        """The decoder's part of the config, as published."""
        nested = self.raw.get("text_config")
        return nested if isinstance(nested, Mapping) else self.raw


def load_config(source: str | Path) -> dict[str, Any]:
    """Read a preset name, a `config.json`, or a folder that holds one. Raises InputError."""
    if isinstance(source, str) and source in presets.NAMES:
        return presets.config(source)
    path = Path(source)
    if path.is_dir():
        path = path / "config.json"
    if not path.exists():
        names = ", ".join(presets.NAMES)
        raise InputError(
            f"no config found at {path}", fix=f"give a checkpoint folder, a config.json, or a preset: {names}"
        )
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError("config.json is not valid JSON", where=str(path), why=str(error)) from error
    if not isinstance(loaded, dict):
        raise InputError("config.json does not hold a JSON object", where=str(path))
    return loaded


def model_facts(raw: Mapping[str, Any], where: str = "config.json") -> ModelFacts:
    """Type and check a config. Raises InputError naming the field, its value and what was expected."""
    model_type = str(raw.get("model_type", "missing"))
    if model_type in _ASSISTANTS:
        raise InputError(
            f"this is a drafter ({model_type}), not a model that runs alone",
            where=where,
            fix="give the target model's checkpoint",
        )
    if model_type in TEXT_TYPES.values():
        text_raw: Mapping[str, Any] = raw
    elif model_type in TEXT_TYPES:
        nested = raw.get("text_config")
        if not isinstance(nested, Mapping):
            raise InputError("the config has no text_config", where=where)
        text_raw = {"model_type": TEXT_TYPES[model_type], **nested}
    else:
        known = ", ".join((*TEXT_TYPES, *TEXT_TYPES.values()))
        raise InputError(
            f"this is not a Gemma 4 checkpoint: its model_type is {model_type!r}",
            where=where,
            fix=f"Gemma 4 model types are {known}",
        )
    text = _Reader(text_raw, where).text_facts(raw)
    has = [name for name, key in (("image", "vision_config"), ("audio", "audio_config")) if raw.get(key)]
    named = raw.get("architectures")
    architecture = str(named[0]) if named else CLASSES[model_type].model
    multimodal = model_type in TEXT_TYPES
    placeholders = [raw.get(key, default) for key, default in _PLACEHOLDERS.items()] if multimodal else []
    ids = tuple(int(token) for token in placeholders if token is not None)
    return ModelFacts(model_type, architecture, text, ("text", *has), ids, _quantization(raw, where), raw)


def _quantization(raw: Mapping[str, Any], where: str) -> str | None:
    """The `quant_method` of a checkpoint whose weights are codes. Raises InputError for one that cannot be read."""
    config = raw.get("quantization_config")
    if config is None:
        return None
    method = str(config.get("quant_method")) if isinstance(config, Mapping) else None
    if method != "gemma":
        raise InputError(
            f"the weights are quantised by the method {method!r}, which cannot be read",
            where=f"{where}, quantization_config.quant_method",
            fix="give the float checkpoint, or one of quant_method gemma (Google's mobile checkpoints)",
        )
    return method


@dataclass(frozen=True)
class _Reader:
    """Typed access to a text config: a wrong or missing field becomes one clear error."""

    raw: Mapping[str, Any]
    where: str

    def text_facts(self, outer: Mapping[str, Any]) -> TextFacts:
        if self.raw.get("use_bidirectional_attention") == "all":
            raise InputError(
                "use_bidirectional_attention 'all' makes an encoder, which cannot generate text", where=self.where
            )
        softcap = self.raw.get("final_logit_softcapping")
        eos = outer.get("eos_token_id", self.raw.get("eos_token_id", 1))
        return TextFacts(
            model_type=str(self.raw["model_type"]),
            hidden_size=self.integer("hidden_size"),
            vocab_size=self.integer("vocab_size"),
            heads=self.integer("num_attention_heads"),
            layers=self.layers(),
            ple_dim=int(self.raw.get("hidden_size_per_layer_input") or 0),
            per_layer_vocab_size=int(self.raw.get("vocab_size_per_layer_input") or self.integer("vocab_size")),
            moe=self.moe(),
            key_is_value=bool(self.raw.get("attention_k_eq_v", False)),
            softcap=None if softcap is None else float(softcap),
            max_positions=self.integer("max_position_embeddings"),
            dtype=str(outer.get("dtype") or self.raw.get("dtype") or outer.get("torch_dtype") or "bfloat16"),
            pad_token_id=int(self.raw.get("pad_token_id") or 0),
            bos_token_id=int(self.raw.get("bos_token_id") or 2),
            eos_token_ids=tuple(int(token) for token in (eos if isinstance(eos, list) else [eos])),
            tied=bool(outer.get("tie_word_embeddings", self.raw.get("tie_word_embeddings", True))),
        )

    def integer(self, key: str, layer: Mapping[str, Any] | None = None) -> int:
        value = (layer or {}).get(key, self.raw.get(key))
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            raise InputError(f"config field {key} must be a positive integer, found {value!r}", where=self.where)
        return value

    def moe(self) -> MoEFacts | None:
        if not self.raw.get("enable_moe_block"):
            return None
        return MoEFacts(
            self.integer("num_experts"), self.integer("top_k_experts"), self.integer("moe_intermediate_size")
        )

    def kinds(self) -> list[str]:
        count = self.integer("num_hidden_layers")
        kinds = self.raw.get("layer_types")
        if not isinstance(kinds, list) or len(kinds) != count:
            raise InputError(f"layer_types must list {count} layers, as num_hidden_layers says", where=self.where)
        for index, kind in enumerate(kinds):
            if kind not in (SLIDING, FULL):
                raise InputError(
                    f"layer {index} has the unknown type {kind!r}",
                    where=f"{self.where}, layer_types[{index}]",
                    fix=f"Gemma 4 has {SLIDING} and {FULL}",
                )
        rope = self.raw.get("rope_parameters")
        for kind in sorted(set(kinds)):
            parameters = rope.get(kind) if isinstance(rope, Mapping) else None
            rope_type = parameters.get("rope_type") if isinstance(parameters, Mapping) else None
            if rope is not None and rope_type not in _ROPE_TYPES:
                raise InputError(
                    f"rope_parameters of {kind} have the unknown rope_type {rope_type!r}",
                    where=f"{self.where}, rope_parameters.{kind}",
                    fix=f"known rope types are {' and '.join(_ROPE_TYPES)}",
                )
        return [str(kind) for kind in kinds]

    def overrides(self, kinds: list[str]) -> list[dict[str, Any]]:
        """What each layer has of its own: from `per_layer_config`, else from the flat global fields."""
        table = self.raw.get("per_layer_config")
        if isinstance(table, Mapping):
            by_index = {int(key): dict(value) for key, value in table.items() if str(key).isdigit()}
            by_kind = {kind: dict(table.get(kind, {})) for kind in kinds}
            return [by_index.get(index, by_kind[kind]) for index, kind in enumerate(kinds)]
        own: dict[str, Any] = {"head_dim": self.raw.get("global_head_dim") or 512}
        if self.raw.get("attention_k_eq_v") and self.raw.get("num_global_key_value_heads"):
            own["num_key_value_heads"] = self.raw["num_global_key_value_heads"]
        return [own if kind == FULL else {} for kind in kinds]

    def layers(self) -> tuple[LayerFacts, ...]:
        kinds = self.kinds()
        shared = int(self.raw.get("num_kv_shared_layers") or 0)
        first_shared = len(kinds) - shared
        width = self.integer("intermediate_size")
        facts = []
        for index, (kind, own) in enumerate(zip(kinds, self.overrides(kinds), strict=True)):
            source = index
            if index >= first_shared:
                producers = [i for i in range(first_shared) if kinds[i] == kind]
                if not producers:
                    raise InputError(
                        f"layer {index} shares the KV of a {kind} layer, but no earlier layer of that type owns one",
                        where=self.where,
                    )
                source = producers[-1]
            wide = bool(self.raw.get("use_double_wide_mlp")) and index >= first_shared
            facts.append(
                LayerFacts(
                    index=index,
                    kind=kind,
                    head_dim=self.integer("head_dim", own),
                    kv_heads=self.integer("num_key_value_heads", own),
                    intermediate_size=width * (2 if wide else 1),
                    kv_source=source,
                    window=self.integer("sliding_window") if kind == SLIDING else None,
                )
            )
        return tuple(facts)
