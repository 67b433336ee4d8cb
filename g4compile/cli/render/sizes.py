"""Bytes in words that people read."""

from __future__ import annotations


def size(count: int) -> str:
    """1,234,567 bytes as 1.2 MB (powers of ten)."""
    value, unit = float(count), "B"
    for bigger in ("kB", "MB", "GB"):
        if value < 1000:
            break
        value, unit = value / 1000, bigger
    return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"


def kv_size(per_token: int, fixed: int) -> str:
    """KV bytes in the same words for all verbs: what grows with the context, and what windows hold in all."""
    return f"{size(per_token)} per token in full layers, {size(fixed)} fixed for windows"
