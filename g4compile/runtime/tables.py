"""Rows of tables, looked up by the host in a checkpoint's own files, which stay on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from g4compile.bundle.manifest import HostSpec

Array = np.ndarray[Any, Any]
# Rows `ids` (sorted, each once) of the tensor `key`: [n, columns], in its stored dtype.
ReadRows = Callable[[str, Sequence[int]], Array]


def look_up(host: HostSpec, ids: Array, read_rows: ReadRows) -> dict[str, Array]:
    """The engine inputs that follow from ``ids`` [B, S], by name: float32 [B, S, ...] before rounding."""
    # Python's own sets and lists: NumPy's take longer for one token than all else that is done for it.
    shown = [host.pad if token in host.placeholders else token for token in ids.reshape(-1).tolist()]
    unique = sorted(set(shown))
    order = {token: place for place, token in enumerate(unique)}
    places = [order[token] for token in shown]
    found = {}
    for table in host.tables:
        rows = read_rows(table.key, unique).astype(np.float32)
        rows *= np.float32(table.scale)
        found[table.name] = (rows if len(shown) == 1 else rows[places]).reshape(*ids.shape, *table.row)
    return found
