"""A checkpoint's tensors by key, read from its safetensors files, which stay mapped: rows are looked up for every
token."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from g4compile.errors import CheckpointError

Array = np.ndarray[Any, Any]


class TensorFiles:
    """All `*.safetensors` of a ``folder``, or those of some ``names``. Raises CheckpointError for a file that cannot be
    read."""

    def __init__(self, folder: Path, names: Sequence[str] = ()) -> None:
        self.folder = folder
        self._files: dict[str, Any] = {}  # by key, the opened file
        self._slices: dict[str, Any] = {}  # of tensors whose rows were read
        for file in [folder / name for name in names] or sorted(folder.glob("*.safetensors")):
            try:
                opened = safe_open(file, "numpy")
            except SafetensorError as error:
                raise CheckpointError("a safetensors file cannot be read", where=str(file), why=str(error)) from error
            self._files.update(dict.fromkeys(opened.keys(), opened))  # type: ignore[no-untyped-call]  # of safetensors
        if not self._files:
            raise CheckpointError(
                "there are no safetensors files", where=str(folder), fix="give the checkpoint's folder"
            )

    def read(self, key: str) -> Array:
        return np.asarray(self._file(key).get_tensor(key))

    def read_rows(self, key: str, rows: Sequence[int]) -> Array:
        """Rows of a matrix, in its stored dtype."""
        piece = self._slices.get(key)
        if piece is None:
            piece = self._slices[key] = self._file(key).get_slice(key)
        found = [np.asarray(piece[row : row + 1]) for row in rows]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _file(self, key: str) -> Any:
        if key not in self._files:
            raise CheckpointError(
                f"the checkpoint has no tensor {key}",
                where=str(self.folder),
                fix="give the one the bundle was compiled from",
            )
        return self._files[key]
