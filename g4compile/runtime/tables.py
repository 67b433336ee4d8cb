"""Rows of tables, looked up by the host in a checkpoint's own files, which stay on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from g4compile.bundle.manifest import HostSpec

Array = np.ndarray[Any, Any]
# Rows `ids` (int64 [n], sorted, each once) of the tensor `key`: [n, columns], in its stored dtype.
ReadRows = Callable[[str, Array], Array]


def look_up(host: HostSpec, ids: Array, read_rows: ReadRows) -> dict[str, Array]:
    """The engine inputs that follow from ``ids`` [B, S], by name: float32 [B, S, ...] before rounding."""
    shown = np.where(np.isin(ids, host.placeholders), host.pad, ids)
    unique, places = np.unique(shown, return_inverse=True)
    found = {}
    for table in host.tables:
        rows = read_rows(table.key, unique).astype(np.float32) * np.float32(table.scale)
        found[table.name] = rows[places.reshape(-1)].reshape(*ids.shape, *table.row)
    return found
