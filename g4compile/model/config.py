"""HF `config.json` -> typed facts, per layer. The only file that reads HF configs.

Both published layouts are understood: the flat one (`global_head_dim`, `num_global_key_value_heads`) and the
one transformers 5.15 and newer writes (`per_layer_config: {"05": {...}}`). Nothing here imports transformers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g4compile.errors import InputError
from g4compile.inputs.documents import decode_object, shown
from g4compile.inputs.files import Kind, read_bytes, root_of
from g4compile.inputs.system import system_errors
from g4compile.model import presets, schema
from g4compile.model.classes import CLASSES, TEXT_TYPES
from g4compile.model.fields import misfit, read_fields
from g4compile.model.towers import audio_facts, vision_facts

SLIDING, FULL = schema.SLIDING, schema.FULL
CONFIG = Kind("config.json", 4 << 20)
_INDEX = re.compile(r"[0-9]{1,4}")
_ASSISTANTS = ("gemma4_assistant", "gemma4_unified_assistant")
SLIDING_BLOCKS, ALL_BLOCKS = "sliding", "all"  # of `TextFacts.image_blocks`


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
    """A decoder, as far as compiling and running it needs to know. ``image_blocks``: layers in which the tokens of an
    image see each other: none (empty), `sliding` ones within their window, or `all`."""

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
    image_blocks: str = ""

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
    """Read a preset name, a `config.json`, or a folder that holds one. Raises InputError, MachineError."""
    if isinstance(source, str) and source in presets.NAMES:
        return presets.config(source)
    path, within = Path(source), None
    with system_errors("reading config.json", path):
        if path.is_dir():
            path, within = path / "config.json", root_of(path)
        found = path.exists()
    if not found:
        names = ", ".join(presets.NAMES)
        raise InputError(
            f"no config found at {path}", fix=f"give a checkpoint folder, a config.json, or a preset: {names}"
        )
    return decode_object(read_bytes(path, CONFIG, within), CONFIG, path)


def model_facts(raw: Mapping[str, Any], where: str = "config.json") -> ModelFacts:
    """Type and check a config. Raises InputError naming the field, its value and what was expected."""
    model_type = raw.get("model_type", "missing")
    if model_type in _ASSISTANTS:
        raise InputError(
            f"this is a drafter ({model_type}), not a model that runs alone",
            where=where,
            fix="give the target model's checkpoint",
        )
    if not isinstance(model_type, str) or model_type not in CLASSES:
        raise InputError(
            f"this is not a Gemma 4 checkpoint: its model_type is {shown(model_type)}",
            where=where,
            fix=f"Gemma 4 model types are {', '.join(CLASSES)}",
        )
    multimodal = model_type in TEXT_TYPES
    fields = read_fields(raw, {**schema.FILE, **(schema.MULTIMODAL if multimodal else {})}, where)
    architecture = CLASSES[model_type].model
    if fields["architectures"] and fields["architectures"][0] != architecture:
        raise misfit("architectures", fields["architectures"], f"[{architecture}] for a {model_type}", where)
    text_raw, path = (fields["text_config"], "text_config") if multimodal else (raw, "")
    text = _Reader(text_raw, where, path, TEXT_TYPES.get(model_type, model_type), fields).text_facts()
    modalities, ids = ["text"], ()
    if multimodal:
        _check_tokens(raw, schema.MODEL_TOKENS, text.vocab_size, where, "")
        ids = tuple(fields[name] for name in schema.PLACEHOLDERS if fields[name] is not None)
        unified = model_type == "gemma4_unified"
        if fields["vision_config"] is not None:
            vision_facts(fields["vision_config"], unified, where)
            modalities.append("image")
        if fields["audio_config"] is not None:
            audio_facts(fields["audio_config"], unified, where)
            modalities.append("audio")
    quantization = _quantization(fields["quantization_config"], where)
    return ModelFacts(model_type, architecture, text, tuple(modalities), ids, quantization, raw)


def _quantization(config: Mapping[str, Any] | None, where: str) -> str | None:
    """The `quant_method` of a checkpoint whose weights are codes. Raises InputError for one that cannot be read."""
    if config is None:
        return None
    if config.get("quant_method") != "gemma":
        raise InputError(
            f"the weights are quantised by the method {shown(config.get('quant_method'))}, which cannot be read",
            where=f"{where}, quantization_config.quant_method",
            fix="give the float checkpoint, or one of quant_method gemma (Google's mobile checkpoints)",
        )
    return "gemma"


def _check_tokens(raw: Mapping[str, Any], names: Sequence[str], vocab_size: int, where: str, path: str) -> None:
    """Raise InputError for a token, among the fields ``names`` of ``raw``, that is not in the vocabulary."""
    for name in names:
        value = raw.get(name)
        for token in value if isinstance(value, list | tuple) else [value]:
            if token is not None and token >= vocab_size:
                raise misfit(path + name, value, f"in the vocabulary of {vocab_size:,} tokens", where)


@dataclass(frozen=True)
class _Reader:
    """The decoder's config ``raw``, which stands at ``path`` of the file ``where``, as facts.

    ``outer``: checked fields of the whole file. Fields are checked one by one by `schema.py`, together here.
    """

    raw: Mapping[str, Any]
    where: str
    path: str
    model_type: str
    outer: Mapping[str, Any]

    def text_facts(self) -> TextFacts:
        if self.raw.get("use_bidirectional_attention") == "all":
            raise InputError(
                "use_bidirectional_attention 'all' makes an encoder, which cannot generate text", where=self.where
            )
        own_type = self.raw.get("model_type", self.model_type)
        if own_type != self.model_type:
            raise misfit(self.place("model_type"), own_type, self.model_type, self.where)
        self._check_layer_types()
        fields = read_fields(self.raw, schema.TEXT[self.model_type], self.where, self.path)
        layers = self.layers(fields)
        self._check_rope(layers)
        vocabulary, table = fields["vocab_size"], fields["vocab_size_per_layer_input"]
        if fields["hidden_size_per_layer_input"] and table < vocabulary:
            wanted = f"vocab_size, {vocabulary:,}, or more: every token has a row there"
            raise misfit(self.place("vocab_size_per_layer_input"), table, wanted, self.where)
        shares = fields["num_kv_shared_layers"] > 0 and self.model_type == "gemma4_text"
        if shares and not fields["hidden_size_per_layer_input"]:
            why = "transformers runs no gemma4_text whose layers share KV and that has no per-layer embeddings"
            raise misfit(self.place("hidden_size_per_layer_input"), 0, "1 or more", self.where, why)
        path = f"{self.path}." if self.path else ""
        _check_tokens(self.raw, schema.TEXT_TOKENS, vocabulary, self.where, path)
        _check_tokens(self.outer, ("eos_token_id",), vocabulary, self.where, "")
        eos = self.outer["eos_token_id"]
        eos = fields["eos_token_id"] if eos is None else eos
        return TextFacts(
            model_type=self.model_type,
            hidden_size=fields["hidden_size"],
            vocab_size=vocabulary,
            heads=fields["num_attention_heads"],
            layers=layers,
            ple_dim=fields["hidden_size_per_layer_input"],
            per_layer_vocab_size=table or vocabulary,
            moe=self.moe(fields),
            key_is_value=fields["attention_k_eq_v"],
            softcap=None if fields["final_logit_softcapping"] is None else float(fields["final_logit_softcapping"]),
            max_positions=fields["max_position_embeddings"],
            dtype=self.outer["dtype"] or fields["dtype"] or self.outer["torch_dtype"] or "bfloat16",
            pad_token_id=fields["pad_token_id"] or 0,
            bos_token_id=2 if fields["bos_token_id"] is None else fields["bos_token_id"],
            eos_token_ids=tuple(eos) if isinstance(eos, list | tuple) else () if eos is None else (eos,),
            tied=self.tied(fields),
            image_blocks=self.image_blocks(),
        )

    def image_blocks(self) -> str:
        """transformers has it in two ways: `create_masks_for_vision_model` of `modeling_gemma4.py`, and all masks of
        `Gemma4UnifiedModel.forward`."""
        if self.raw.get("use_bidirectional_attention") != "vision":
            return ""
        return ALL_BLOCKS if self.model_type == "gemma4_unified_text" else SLIDING_BLOCKS

    def place(self, name: str) -> str:
        """The path of a field of this object in the file."""
        return f"{self.path}.{name}" if self.path else name

    def tied(self, fields: Mapping[str, Any]) -> bool:
        """Whether the output table is the embedding. Both configs may say it, the same."""
        said = {one for one in (self.outer["tie_word_embeddings"], fields["tie_word_embeddings"]) if one is not None}
        if len(said) == 2:
            wanted = f"what it is in the whole config, {shown(self.outer['tie_word_embeddings'])}"
            raise misfit(self.place("tie_word_embeddings"), fields["tie_word_embeddings"], wanted, self.where)
        return said != {False}

    def moe(self, fields: Mapping[str, Any]) -> MoEFacts | None:
        if not fields["enable_moe_block"]:
            return None
        names = ("num_experts", "top_k_experts", "moe_intermediate_size")
        for name in names:
            if fields[name] is None:
                raise misfit(self.place(name), None, "an integer, since enable_moe_block is true", self.where)
        experts, top_k, width = (fields[name] for name in names)
        if top_k > experts:
            raise misfit(self.place("top_k_experts"), top_k, f"at most num_experts, {experts}", self.where)
        return MoEFacts(experts, top_k, width)

    def _check_layer_types(self) -> None:
        """Raise InputError for the first layer of a type that Gemma 4 has not."""
        kinds = self.raw.get("layer_types")
        for index, kind in enumerate(kinds if isinstance(kinds, list | tuple) else ()):
            if kind not in (SLIDING, FULL):
                raise InputError(
                    f"layer {index} has the unknown type {shown(kind)}",
                    where=f"{self.where}, {self.place('layer_types')}[{index}]",
                    fix=f"Gemma 4 has {SLIDING} and {FULL}",
                )

    def _check_rope(self, layers: Sequence[LayerFacts]) -> None:
        """Raise InputError for rotations that a kind of layer cannot have."""
        stated = self.raw.get("rope_parameters")
        for kind, layer in {layer.kind: layer for layer in layers}.items():
            place = self.place(f"rope_parameters.{kind}")
            parameters = schema.ROPE_DEFAULTS[kind] if stated is None else stated.get(kind)
            if not isinstance(parameters, Mapping):
                raise misfit(place, parameters, "an object", self.where)
            if parameters.get("rope_type") not in schema.ROPE_TYPES:
                raise InputError(
                    f"rope_parameters of {kind} have the unknown rope_type {shown(parameters.get('rope_type'))}",
                    where=f"{self.where}, {place}",
                    fix=f"known rope types are {' and '.join(schema.ROPE_TYPES)}",
                )
            fields = read_fields(parameters, schema.ROPE, self.where, place)
            share = fields["partial_rotary_factor"]
            if fields["rope_type"] == "proportional" and int(share * layer.head_dim // 2) < 1:
                wanted = f"so large that a pair of the {layer.head_dim} dimensions of a head is rotated"
                raise misfit(f"{place}.partial_rotary_factor", share, wanted, self.where)

    def overrides(self, fields: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What each layer has of its own: from `per_layer_config`, else from the flat global fields."""
        kinds, table = fields["layer_types"], fields["per_layer_config"]
        if table is None:
            own: dict[str, Any] = {"head_dim": fields["global_head_dim"], "num_key_value_heads": None}
            if fields["attention_k_eq_v"]:
                own["num_key_value_heads"] = fields["num_global_key_value_heads"]
            return [own if kind == FULL else dict.fromkeys(own) for kind in kinds]
        found: dict[int, dict[str, Any]] = {}
        for key, value in table.items():
            place = self.place(f"per_layer_config.{key}")
            if not _INDEX.fullmatch(str(key)) or int(key) >= len(kinds) or int(key) in found:
                raise misfit(place, value, f"of a layer, 0 to {len(kinds) - 1}, each once", self.where)
            if not isinstance(value, Mapping) or not set(value) <= set(schema.LAYER):
                raise misfit(place, value, f"an object of {' and '.join(schema.LAYER)}", self.where)
            found[int(key)] = read_fields(value, schema.LAYER, self.where, place)
        return [found.get(index, dict.fromkeys(schema.LAYER)) for index in range(len(kinds))]

    def layers(self, fields: Mapping[str, Any]) -> tuple[LayerFacts, ...]:
        kinds, count, heads = fields["layer_types"], fields["num_hidden_layers"], fields["num_attention_heads"]
        if len(kinds) != count:
            raise InputError(f"layer_types must list {count} layers, as num_hidden_layers says", where=self.where)
        if kinds[-1] != FULL:
            why = "transformers makes the last layer a full one, whatever the config says"
            raise misfit(self.place(f"layer_types[{count - 1}]"), kinds[-1], FULL, self.where, why)
        shared = fields["num_kv_shared_layers"]
        if shared >= count:
            raise misfit(self.place("num_kv_shared_layers"), shared, f"less than the {count} layers", self.where)
        first_shared, width, facts = count - shared, fields["intermediate_size"], []
        first: dict[str, LayerFacts] = {}
        for index, (kind, own) in enumerate(zip(kinds, self.overrides(fields), strict=True)):
            producers = [i for i in range(first_shared) if kinds[i] == kind] if index >= first_shared else [index]
            if not producers:
                raise InputError(
                    f"layer {index} shares the KV of a {kind} layer, but no earlier layer of that type owns one",
                    where=self.where,
                )
            layer = LayerFacts(
                index=index,
                kind=kind,
                head_dim=own["head_dim"] or fields["head_dim"],
                kv_heads=own["num_key_value_heads"] or fields["num_key_value_heads"],
                intermediate_size=width * (2 if fields["use_double_wide_mlp"] and index >= first_shared else 1),
                kv_source=producers[-1],
                window=fields["sliding_window"] if kind == SLIDING else None,
            )
            if heads % layer.kv_heads:
                wanted = f"a divisor of num_attention_heads, {heads}, in layer {index}"
                raise misfit(self.place("num_key_value_heads"), layer.kv_heads, wanted, self.where)
            like = first.setdefault(kind, layer)
            if (like.head_dim, like.kv_heads) != (layer.head_dim, layer.kv_heads):
                wanted = f"the same for all {kind} layers: layers {like.index} and {index} differ"
                raise misfit(self.place("per_layer_config"), self.raw.get("per_layer_config"), wanted, self.where)
            facts.append(layer)
        return tuple(facts)
