"""Keys and values: how graphs name them, which tensors a dtype of KV has, and how many bytes they take."""

from __future__ import annotations

import msgspec

from g4compile.bundle.manifest import KVLayer, KVSpec

FLOAT32, BFLOAT16, INT8 = "float32", "bfloat16", "int8"  # dtypes of KV
PAST, PRESENT = "past_key_values.", "present."  # begin of the names of inputs and outputs: `past_key_values.N.key`
# By dtype of KV: the tensors of a layer, with their dtypes. A scale has one number per token and head.
PARTS: dict[str, dict[str, str]] = {
    FLOAT32: {"key": "float", "value": "float"},
    BFLOAT16: {"key": "bfloat16", "value": "bfloat16"},
    INT8: {"key": "int8", "key_scale": "float", "value": "int8", "value_scale": "float"},
}
_BYTES = {"float": 4, "bfloat16": 2, "int8": 1, "int64": 8}


class KVBytes(msgspec.Struct, frozen=True):
    """Of one sequence. ``kv_bytes_per_token``: of all full layers together, for every token of the context.

    ``kv_window_bytes``: of all sliding layers together, whose caches hold a window, or a ring, and do not grow past it.
    """

    kv_bytes_per_token: int
    kv_window_bytes: int


def kv_bytes(kv: KVSpec) -> KVBytes:
    """Of a bundle whose manifest says ``kv``."""
    return KVBytes(
        sum(layer.bytes_per_token for layer in kv.layers if layer.keep is None),
        sum(layer.bytes_per_token * (layer.slots or layer.keep or 0) for layer in kv.layers),
    )


def width(layer: KVLayer, part: str) -> int:
    """Numbers per token and head in the tensor ``part`` of ``layer``."""
    return _numbers(part, layer.head_dim)


def token_bytes(dtype: str, heads: int, head_dim: int) -> int:
    """Of one token of one sequence in a layer, key and value together."""
    return heads * sum(_numbers(part, head_dim) * _BYTES[kind] for part, kind in PARTS[dtype].items())


def _numbers(part: str, head_dim: int) -> int:
    return 1 if part.endswith("_scale") else head_dim
