"""Tables on stdout."""

from __future__ import annotations

from collections.abc import Mapping


def table(title: str, rows: Mapping[str, str]) -> None:
    """Two columns on stdout, never wrapped: lines can be searched and copied."""
    width = max(map(len, rows), default=0)
    print(title)
    for name, value in rows.items():
        print(f"  {name:<{width}}  {value}")
