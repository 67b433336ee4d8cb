"""`g4compile synth`: a random checkpoint of any config, in the layout published checkpoints have.

Names and shapes come from the HF module on the meta device, so every modality the config has is covered. As
published: KV-shared layers carry the stale K and V tensors that nothing reads, a tied `lm_head` is not stored,
and 12B's vision embedder has its on-disk names.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from g4compile.errors import InputError, MachineError
from g4compile.inputs.files import is_there
from g4compile.inputs.system import system_errors
from g4compile.model.classes import CLASSES
from g4compile.model.config import ModelFacts, load_config, model_facts
from g4compile.model.contents import stale_of_shared
from g4compile.model.keys import stored_key
from g4compile.synth.processor import write_processor
from g4compile.synth.quantized import RECIPES, quantization_config, stored_tensors
from g4compile.synth.tensors import Tensor, random_tensor
from g4compile.synth.tokenizer import write_tokenizer
from g4compile.weights.recipe import Recipe, load_recipe, recipe_name
from g4compile.weights.shards import INDEX, SINGLE

DTYPES = {"float32": np.dtype(np.float32), "bfloat16": np.dtype(ml_dtypes.bfloat16)}
_OPTIONAL = {"image": "vision_config", "audio": "audio_config"}


def synthesize(
    source: str | Path,
    folder: Path,
    *,
    seed: int = 0,
    dtype: str = "float32",
    modalities: tuple[str, ...] | None = None,
    weights: str | None = None,
    shard_bytes: int = 4 << 30,
    progress: Callable[[str, int, int], None] = lambda key, number, of: None,
) -> ModelFacts:
    """Write a checkpoint for the config ``source`` (preset, file or folder) into ``folder``, which must be new.

    ``modalities`` keeps some of the config's (text always); None keeps all. ``weights``: `mobile` or
    `mobile-e4b` writes codes in the layout of Google's mobile checkpoints. ``progress``: key, number and count of the
    tensor that is written now. Raises InputError, and MachineError when the disk is full, or fails; then nothing
    that was written is left.
    """
    if dtype not in DTYPES:
        raise InputError(f"cannot write {dtype} weights", fix=f"--dtype is one of {', '.join(DTYPES)}")
    with _writing(folder):
        _check_new(folder)
    if weights is not None and weights not in RECIPES:
        raise InputError(f"cannot write {weights} weights", fix=f"--weights is one of {', '.join(RECIPES)}")
    config = dict(load_config(source))
    text = model_facts(config, where=str(source)).text
    recipe = None if weights is None else load_recipe(recipe_name(weights, text))
    for modality, key in _OPTIONAL.items():
        if modalities is not None and modality not in modalities and key in config:
            config[key] = None
    _set_dtype(config, dtype)
    if recipe is not None:  # such checkpoints hold lookup and product of the embedding apart
        config.update(quantization_config=quantization_config(recipe), tie_word_embeddings=False)
        if isinstance(config.get("text_config"), dict):
            config["text_config"] = {**config["text_config"], "tie_word_embeddings": False}
    facts = model_facts(config, where=str(source))
    tensors = [
        tensor
        for key, shape in sorted(published_shapes(facts).items())
        for tensor in _stored(key, shape, DTYPES[dtype], recipe, seed)
    ]
    with _writing(folder), _new(folder):
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        write_tokenizer(folder, config, facts.text.vocab_size)
        write_processor(folder, config)
        _write_shards(folder, tensors, shard_bytes, progress)
    return facts


def _check_new(folder: Path) -> None:
    if is_there(folder) and (folder.is_symlink() or not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not an empty folder", fix="give a new folder")


@contextmanager
def _new(folder: Path) -> Iterator[None]:
    """``folder``, made if need be, to write files into; when that fails, it is as it was."""
    found = folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    _check_new(folder)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # what went wrong first is the error to show
            for path in folder.iterdir():
                path.unlink()
            if not found:
                folder.rmdir()
        raise


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Errors of the system, and of the library that writes shards, which are its own words for them, as ours."""
    try:
        with system_errors("writing the checkpoint"):
            yield
    except SafetensorError as error:
        raise MachineError(
            "the system failed while writing the checkpoint",
            where=str(folder),
            why=str(error),
            fix="free space on the disk, or choose another place",
        ) from error


def _stored(
    key: str, shape: tuple[int, ...], dtype: np.dtype[Any], recipe: Recipe | None, seed: int
) -> Iterable[Tensor]:
    if recipe is not None:
        return stored_tensors(key, shape, dtype, recipe, seed)
    return [Tensor(key, shape, dtype, lambda: random_tensor(key, shape, seed))]


def _set_dtype(config: dict[str, Any], dtype: str) -> None:
    config["dtype"] = dtype
    for key in ("text_config", *_OPTIONAL.values()):
        if isinstance(config.get(key), dict) and "dtype" in config[key]:
            config[key] = {**config[key], "dtype": dtype}


def published_shapes(facts: ModelFacts) -> dict[str, tuple[int, ...]]:
    """Key -> shape of everything the published checkpoint of this config stores."""
    from g4compile.trace.build import build

    raw = {key: value for key, value in facts.raw.items() if key != "quantization_config"}
    _, model = build(CLASSES[facts.model_type], raw)
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    if facts.text.tied:
        shapes.pop("lm_head.weight", None)
    return {**{stored_key(name, facts): shape for name, shape in shapes.items()}, **stale_of_shared(facts)}


def _write_shards(
    folder: Path, tensors: list[Tensor], shard_bytes: int, progress: Callable[[str, int, int], None]
) -> None:
    shards: list[list[Tensor]] = [[]]
    size = 0
    for tensor in tensors:
        if size and size + tensor.nbytes > shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(tensor)
        size += tensor.nbytes
    weight_map: dict[str, str] = {}
    written = itertools.count(1)
    for number, shard in enumerate(shards, 1):
        name = SINGLE if len(shards) == 1 else f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        arrays = {}
        for tensor in shard:
            progress(tensor.key, next(written), len(tensors))
            arrays[tensor.key] = tensor.make().astype(tensor.dtype)
        save_file(arrays, folder / name, metadata={"format": "pt"})
        weight_map.update({tensor.key: name for tensor in shard})
    if len(shards) > 1:
        index = {"metadata": {"total_size": sum(tensor.nbytes for tensor in tensors)}, "weight_map": weight_map}
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
