"""Texts of the command line -> values, checked. All raise InputError."""

from __future__ import annotations

import os
from pathlib import Path

from g4compile.errors import InputError

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
_MOST_BYTES = 1 << 63


def parse_size(text: str) -> int:
    """`512MB`, `4GiB`, `1000` as bytes: at least 1."""
    number = text.rstrip("abgikmABGIKM ")
    try:
        count = float(number) * _UNITS[text[len(number) :].strip().upper()]
    except (KeyError, ValueError):
        raise InputError(f"{text!r} is not a size", fix="write for example 500MB or 4GiB") from None
    if not 1 <= count < _MOST_BYTES:  # false for a number that is not one
        raise InputError(f"{text!r} is not a size that is possible", fix="write for example 500MB or 4GiB")
    return int(count)


def parse_capabilities(text: str) -> tuple[int, ...]:
    """`80,89,120` as compute capabilities."""
    try:
        return tuple(int(word.strip().lower().removeprefix("sm").replace(".", "")) for word in text.split(",") if word)
    except ValueError:
        raise InputError(f"{text!r} is not a list of compute capabilities", fix="write for example 80,89,120") from None


def parse_ids(text: str) -> list[int]:
    """`1,2,3` as token ids."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f"--ids must be integers with commas between them, found {text!r}", fix="--ids 1,2,3"
        ) from None


def existing_or_name(path: str) -> str | Path:
    """A path when it exists, else the text as it is (a preset or a Hub id)."""
    return Path(path) if os.path.exists(path) else path  # noqa: PTH110 - Path raises for a name that is too long


def bundle_folder(path: Path) -> Path:
    """``path``, unless it is the name of a preset, which is no bundle."""
    from g4compile.model import presets

    if str(path) in presets.NAMES and not path.exists():
        raise InputError(
            f"{path} is the name of a preset, not a bundle",
            fix=f"`g4compile synth {path} -o DIR` writes a random checkpoint, and `g4compile compile DIR` a bundle",
        )
    return path
