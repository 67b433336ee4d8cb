"""What a check of a manifest finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

Faults = Iterator[tuple[str, str]]  # what contradicts, and why; nothing when all agrees


def repeated(names: Iterable[str]) -> list[str]:
    """Those of ``names`` that stand there more than once."""
    return [name for name, count in Counter(names).items() if count > 1]
