"""`g4compile synth`: a random checkpoint of any config, in the layout published checkpoints have.

Names and shapes come from the HF module on the meta device, so every modality the config has is covered. As
published: KV-shared layers carry the stale K and V tensors that nothing reads, a tied `lm_head` is not stored,
and 12B's vision embedder has its on-disk names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

from g4compile.config import ModelFacts, load_config, model_facts
from g4compile.errors import InputError
from g4compile.synth.tensors import random_tensor
from g4compile.synth.tokenizer import write_tokenizer
from g4compile.weights.checkpoint import INDEX, SINGLE

DTYPES = {"float32": np.dtype(np.float32), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
_OPTIONAL = {"image": "vision_config", "audio": "audio_config"}
# transformers' `conversion_mapping.py` for gemma4_unified, backwards.
_UNIFIED_ON_DISK = (
    (re.compile(r"embed_vision\.multimodal_embedder\.embedding_projection"), "embed_vision.embedding_projection"),
    (re.compile(r"embed_vision\.(patch_ln1|patch_dense|patch_ln2|pos_embedding|pos_norm)"), r"vision_embedder.\1"),
)


def synthesize(
    source: str | Path,
    folder: Path,
    *,
    seed: int = 0,
    dtype: str = "float32",
    modalities: tuple[str, ...] | None = None,
    shard_bytes: int = 4 << 30,
    progress: Callable[[str], None] = lambda key: None,
) -> ModelFacts:
    """Write a checkpoint for the config ``source`` (preset, file or folder) into ``folder``, which must be new.

    ``modalities`` keeps some of the config's (text always); None keeps all. Raises InputError.
    """
    if dtype not in DTYPES:
        raise InputError(f"cannot write {dtype} weights", fix=f"--dtype is one of {', '.join(DTYPES)}")
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} exists and is not empty", fix="give a new folder")
    config = dict(load_config(source))
    model_facts(config, where=str(source))
    for modality, key in _OPTIONAL.items():
        if modalities is not None and modality not in modalities and key in config:
            config[key] = None
    _set_dtype(config, dtype)
    facts = model_facts(config, where=str(source))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    write_tokenizer(folder, config, facts.text.vocab_size)
    _write_shards(folder, sorted(_tensors(facts).items()), DTYPES[dtype], seed, shard_bytes, progress)
    return facts


def _set_dtype(config: dict[str, Any], dtype: str) -> None:
    config["dtype"] = dtype
    for key in ("text_config", *_OPTIONAL.values()):
        if isinstance(config.get(key), dict) and "dtype" in config[key]:
            config[key] = {**config[key], "dtype": dtype}


def _tensors(facts: ModelFacts) -> dict[str, tuple[int, ...]]:
    """Key -> shape of everything the published checkpoint of this config stores."""
    import torch
    import transformers

    config_class = {
        "gemma4": "Gemma4Config",
        "gemma4_unified": "Gemma4UnifiedConfig",
        "gemma4_text": "Gemma4TextConfig",
        "gemma4_unified_text": "Gemma4UnifiedTextConfig",
    }[facts.model_type]
    config = getattr(transformers, config_class)(**dict(facts.raw))
    with torch.device("meta"):
        model = getattr(transformers, facts.architecture)._from_config(config)
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    if facts.text.tied:
        shapes.pop("lm_head.weight", None)
    if facts.model_type == "gemma4_unified":
        shapes = {_on_disk(key): shape for key, shape in shapes.items()}
    return {**shapes, **dict(_stale(facts, shapes))}


def _on_disk(key: str) -> str:
    for pattern, name in _UNIFIED_ON_DISK:
        key = pattern.sub(name, key)
    return key


def _stale(facts: ModelFacts, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, tuple[int, ...]]]:
    prefix = next(key for key in shapes if key.endswith("layers.0.input_layernorm.weight")).removesuffix(
        "0.input_layernorm.weight"
    )
    for layer in facts.text.layers:
        if not layer.owns_kv:
            width = layer.kv_heads * layer.head_dim
            yield f"{prefix}{layer.index}.self_attn.k_proj.weight", (width, facts.text.hidden_size)
            yield f"{prefix}{layer.index}.self_attn.v_proj.weight", (width, facts.text.hidden_size)
            yield f"{prefix}{layer.index}.self_attn.k_norm.weight", (layer.head_dim,)


def _write_shards(
    folder: Path,
    tensors: list[tuple[str, tuple[int, ...]]],
    dtype: np.dtype[Any],
    seed: int,
    shard_bytes: int,
    progress: Callable[[str], None],
) -> None:
    shards: list[list[tuple[str, tuple[int, ...]]]] = [[]]
    size = 0
    for key, shape in tensors:
        wanted = int(np.prod(shape)) * dtype.itemsize
        if size and size + wanted > shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append((key, shape))
        size += wanted
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        name = SINGLE if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        arrays = {}
        for key, shape in shard:
            progress(key)
            arrays[key] = random_tensor(key, shape, seed).astype(dtype)
        save_file(arrays, folder / name, metadata={"format": "pt"})
        weight_map.update({key: name for key, _ in shard})
    if len(shards) > 1:
        total = sum(int(np.prod(shape)) * dtype.itemsize for _, shape in tensors)
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
