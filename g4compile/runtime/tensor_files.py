"""A checkpoint's tensors by key, read from its safetensors files; the files are opened for each read and not kept mapped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from g4compile.errors import CheckpointError

Array = np.ndarray[Any, Any]


class TensorFiles:
    """All `*.safetensors` of a folder. Raises CheckpointError for a file that cannot be read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, Path] = {}
        for file in sorted(folder.glob("*.safetensors")):
            try:
                with safe_open(file, "numpy") as opened:
                    self._files.update(dict.fromkeys(opened.keys(), file))
            except SafetensorError as error:
                raise CheckpointError("a safetensors file cannot be read", where=str(file), why=str(error)) from error
        if not self._files:
            raise CheckpointError(
                "there are no safetensors files", where=str(folder), fix="give the checkpoint's folder"
            )

    def read(self, key: str) -> Array:
        with safe_open(self._file(key), "numpy") as opened:
            return np.asarray(opened.get_tensor(key))

    def read_rows(self, key: str, rows: Array) -> Array:
        """Rows of a matrix, in its stored dtype."""
        with safe_open(self._file(key), "numpy") as opened:
            piece = opened.get_slice(key)
            return np.concatenate([np.asarray(piece[int(row) : int(row) + 1]) for row in rows])

    def _file(self, key: str) -> Path:
        if key not in self._files:
            raise CheckpointError(
                f"the checkpoint has no tensor {key}",
                where=str(self.folder),
                fix="give the one the bundle was compiled from",
            )
        return self._files[key]
