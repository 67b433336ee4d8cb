"""Bytes of keys and values, in two parts: those that grow with the context, and those that do not."""

from __future__ import annotations

import msgspec

from g4compile.bundle.manifest import KVSpec


class KVBytes(msgspec.Struct, frozen=True):
    """Of one sequence. ``kv_bytes_per_token``: of all full layers together, for every token of the context.

    ``kv_window_bytes``: of all sliding layers together, whose caches hold a window and do not grow past it.
    """

    kv_bytes_per_token: int
    kv_window_bytes: int


def kv_bytes(kv: KVSpec) -> KVBytes:
    """Of a bundle whose manifest says ``kv``."""
    return KVBytes(
        sum(layer.bytes_per_token for layer in kv.layers if layer.keep is None),
        sum(layer.bytes_per_token * layer.keep for layer in kv.layers if layer.keep is not None),
    )
