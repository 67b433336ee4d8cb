"""A checkpoint in the published layout: `config.json`, safetensors (single or sharded), tokenizer files.

Opening reads headers only. Tensors are read one at a time, so memory does not grow with the model. What is opened lies
in the folder, or in the Hub's cache that the folder is of (`inputs/files.py`); what was opened is known again, so that
a file that changes under a compile is noticed. Files are read, not mapped: a mapped one that is cut ends the process.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from g4compile.errors import CheckpointError, InputError, MachineError
from g4compile.inputs.files import check_file, read_bytes, root_of
from g4compile.inputs.system import system_errors
from g4compile.model import presets
from g4compile.model.config import CONFIG, ModelFacts, load_config, model_facts
from g4compile.weights.headers import DTYPES, SHARD, StoredTensor, read_header
from g4compile.weights.shards import INDEX, check_listed, find_shards

SIDE_FILES = (
    "tokenizer_config.json",
    "chat_template.jinja",
    "generation_config.json",
    "special_tokens_map.json",
    "tokenizer.json",  # the last: to check it takes a process
)
Stamp = tuple[int, int, int, int]  # device, inode, bytes, time of the last change in nanoseconds


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint folder: typed facts and the headers of all tensors by key. ``stamps``: what each file of
    it was when it was opened."""

    folder: Path
    facts: ModelFacts
    tensors: dict[str, StoredTensor]
    stamps: Mapping[Path, Stamp] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, source: str | Path) -> Checkpoint:
        """Open a folder, or a Hub id (downloaded, or taken from the local cache when offline).

        Raises InputError and CheckpointError; reads `config.json` and headers, no tensor data.
        """
        folder = locate(source)
        names = ("config.json", INDEX, *SIDE_FILES)
        stamps = {folder / name: _stamp(folder / name) for name in names if (folder / name).exists()}
        facts = model_facts(load_config(folder), where=str(folder / "config.json"))
        tensors: dict[str, StoredTensor] = {}
        for file, listed in find_shards(folder).items():
            check_file(file, SHARD, root_of(folder))
            stamps[file] = _stamp(file)
            with _opened(file) as descriptor:
                found = read_header(descriptor, file)
            check_listed(file, listed, found)
            for key in found:
                if key in tensors:
                    raise CheckpointError(f"tensor {key} stands in two files", where=f"{tensors[key].file}, {file}")
            tensors.update(found)
        return cls(folder, facts, tensors, stamps)

    def read(self, key: str) -> np.ndarray[Any, Any]:
        """The stored tensor, in its stored dtype (bfloat16 as `ml_dtypes.bfloat16`). Raises CheckpointError."""
        stored = self.tensors[key]
        return _numbers(stored, 0, math.prod(stored.shape)).reshape(stored.shape)

    def read_rows(self, key: str, start: int, stop: int) -> np.ndarray[Any, Any]:
        """Rows of a stored tensor [..., K], its leading axes counted as one; the others are not read."""
        stored = self.tensors[key]
        columns = stored.shape[-1]
        stop = min(stop, math.prod(stored.shape[:-1]))
        return _numbers(stored, start * columns, (stop - start) * columns).reshape(-1, columns)

    @property
    def config(self) -> bytes:
        """The bytes of `config.json`."""
        return read_bytes(self.folder / "config.json", CONFIG, root_of(self.folder))

    def check_unchanged(self) -> None:
        """Raise CheckpointError when a file is not what it was when the checkpoint was opened."""
        for path, stamp in self.stamps.items():
            if not path.exists() or _stamp(path) != stamp:
                raise CheckpointError(
                    f"the checkpoint changed while it was compiled: {path.name} is not the file that was opened",
                    where=str(path),
                    fix="compile again when nothing writes into the checkpoint",
                )


def locate(source: str | Path) -> Path:
    """The folder of a checkpoint: a local path, else a Hub id through `huggingface_hub`."""
    path, name = Path(source), str(source)
    with system_errors("looking for the checkpoint", path):
        is_folder, exists = path.is_dir(), path.exists()
    if is_folder:
        return path
    if exists:
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


def _stamp(path: Path) -> Stamp:
    with system_errors("looking at a file of the checkpoint", path, CheckpointError):
        found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _numbers(stored: StoredTensor, first: int, count: int) -> np.ndarray[Any, Any]:
    """``count`` numbers of a tensor, from the ``first``, counted through all axes."""
    dtype = DTYPES[stored.dtype]
    with _opened(stored.file) as descriptor:
        array = np.empty(count, dtype)
        space, offset = array.view(np.uint8).data, stored.offset + first * dtype.itemsize
        while space:
            got = os.preadv(descriptor, [space], offset)
            if got == 0:
                raise CheckpointError(
                    f"{stored.file.name} ends in the middle of tensor {stored.key}",
                    where=str(stored.file),
                    why="the file has become shorter since it was opened",
                    fix=SHARD.fix,
                )
            space, offset = space[got:], offset + got
    return array


@contextmanager
def _opened(file: Path) -> Iterator[int]:
    """A descriptor of a safetensors file. What the system or the memory refuses meanwhile is an error of ours."""
    with system_errors(f"reading {SHARD.name}", file, CheckpointError):
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            yield descriptor
        except MemoryError as error:
            raise MachineError("not enough memory to read a tensor", where=str(file)) from error
        finally:
            os.close(descriptor)
