"""Bytes in words that people read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from g4compile.runtime.device import DeviceMemory


def size(count: int) -> str:
    """1,234,567 bytes as 1.2 MB (powers of ten)."""
    value, unit = float(count), "B"
    for bigger in ("kB", "MB", "GB"):
        if value < 1000:
            break
        value, unit = value / 1000, bigger
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"


def device_rows(memory: DeviceMemory) -> dict[str, str]:
    """What a session holds of a GPU's memory."""
    parts = {
        "weights": memory.weight_bytes,
        "KV": memory.kv_bytes,
        "inputs and logits": memory.buffer_bytes,
        "other": memory.other_bytes,
    }
    held = ", ".join(f"{size(count)} {name}" for name, count in parts.items())
    return {"GPU memory": f"{size(sum(parts.values()))}: {held}; {size(memory.free_bytes)} free"}


def kv_size(per_token: int, fixed: int) -> str:
    """KV bytes in the same words for all verbs: what grows with the context, and what windows hold in all."""
    return f"{size(per_token)} per token in full layers, {size(fixed)} fixed for windows"
