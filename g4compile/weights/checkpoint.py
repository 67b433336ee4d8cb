"""A checkpoint in the published layout: `config.json`, safetensors (single or sharded), tokenizer files.

Opening reads headers only. Tensors are read one at a time, so memory does not grow with the model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from g4compile.errors import CheckpointError, InputError, MachineError
from g4compile.model import presets
from g4compile.model.config import ModelFacts, load_config, model_facts

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
SIDE_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "generation_config.json",
    "special_tokens_map.json",
)


@dataclass(frozen=True)
class StoredTensor:
    """Header of one stored tensor. ``dtype`` is safetensors' name (`BF16`, `F32`, ...)."""

    key: str
    dtype: str
    shape: tuple[int, ...]
    file: Path


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint folder: typed facts and the headers of all tensors by key."""

    folder: Path
    facts: ModelFacts
    tensors: dict[str, StoredTensor]

    @classmethod
    def open(cls, source: str | Path) -> Checkpoint:
        """Open a folder, or a Hub id (downloaded, or taken from the local cache when offline).

        Raises InputError and CheckpointError; reads `config.json` and headers, no tensor data.
        """
        folder = locate(source)
        facts = model_facts(load_config(folder), where=str(folder / "config.json"))
        tensors: dict[str, StoredTensor] = {}
        for file in _shards(folder):
            tensors.update((tensor.key, tensor) for tensor in _headers(file))
        return cls(folder, facts, tensors)

    def read(self, key: str) -> np.ndarray[Any, Any]:
        """The stored tensor, in its stored dtype (bfloat16 as `ml_dtypes.bfloat16`)."""
        stored = self.tensors[key]
        with _reading(stored.file), safe_open(stored.file, "numpy") as file:
            return np.asarray(file.get_tensor(key))

    def read_rows(self, key: str, start: int, stop: int) -> np.ndarray[Any, Any]:
        """Rows of a stored tensor [..., K], its leading axes counted as one; the others are not read.

        The file is mapped for this call only, so that pages once read do not count as this process's memory.
        """
        stored = self.tensors[key]
        with _reading(stored.file), safe_open(stored.file, "numpy") as file:
            piece = file.get_slice(key)
            if len(stored.shape) == 2:
                return np.asarray(piece[start:stop])
            inner = int(np.prod(stored.shape[1:-1]))
            first, last = start // inner, -(-stop // inner)
            rows = np.asarray(piece[first:last]).reshape(-1, stored.shape[-1])
            return rows[start - first * inner : stop - first * inner]

    @property
    def side_files(self) -> list[Path]:
        """Tokenizer, template and generation files that are present, in a fixed order."""
        return [path for name in SIDE_FILES if (path := self.folder / name).exists()]


def locate(source: str | Path) -> Path:
    """The folder of a checkpoint: a local path, else a Hub id through `huggingface_hub`."""
    path = Path(source)
    if path.is_dir():
        return path
    name = str(source)
    if path.exists():
        raise InputError(f"{name} is a file, not a checkpoint folder", fix="give the folder that holds config.json")
    if name in presets.NAMES:
        raise InputError(
            f"{name} is the name of a preset: a config without weights",
            fix=f"`g4compile synth {name} -o DIR` writes a random checkpoint of it",
        )
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise InputError(
            f"there is no checkpoint at {name}",
            fix="give a folder with config.json and *.safetensors, or a Hub id such as google/gemma-4-E2B-it",
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.jinja"]))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"there is no folder {name}, and it could not be had from the Hugging Face Hub",
            why=why,
            fix="check the path, the Hub id, your network and `hf auth login`",
        ) from error


def _shards(folder: Path) -> list[Path]:
    index = folder / INDEX
    if not index.exists():
        single = folder / SINGLE
        if not single.exists():
            raise CheckpointError(
                "the checkpoint has no weights", where=str(folder), why=f"neither {SINGLE} nor {INDEX} is there"
            )
        return [single]
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError("the safetensors index cannot be read", where=str(index), why=repr(error)) from error
    for name in names:
        if Path(name).name != name:
            raise CheckpointError(
                f"the index names {name!r}, which is not the name of a file in the folder", where=str(index)
            )
        if not (folder / name).exists():
            raise CheckpointError(
                f"the index names the shard {name}, which is missing",
                where=str(index),
                fix="download the checkpoint again",
            )
    return [folder / name for name in names]


def _headers(file: Path) -> Iterator[StoredTensor]:
    with _reading(file), safe_open(file, "numpy") as opened:
        for key in opened.keys():
            piece = opened.get_slice(key)
            yield StoredTensor(key, str(piece.get_dtype()), tuple(piece.get_shape()), file)


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Turn the library's errors into ours: which file, and what it said."""
    try:
        yield
    except SafetensorError as error:
        raise CheckpointError(
            "a safetensors file is truncated or corrupt",
            where=str(file),
            why=str(error),
            fix="download it again, or compare its size and checksum with the source",
        ) from error
    except MemoryError as error:
        raise MachineError("not enough memory to read a tensor", where=str(file)) from error
