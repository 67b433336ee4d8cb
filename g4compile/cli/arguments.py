"""Texts of the command line -> values, checked. All raise InputError."""

from __future__ import annotations

import os
from pathlib import Path

from g4compile.errors import InputError

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}
_MOST_BYTES = 1 << 63
_CAPABILITIES, _IDS, _DIGITS = range(10, 1000), range(1 << 31), 10
_MODALITIES = ("text", "image", "audio")
_SHOWN = 60  # characters of a value in a message


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
    """`80,89,120` as compute capabilities; none for an empty text."""
    words = [word.strip().lower().removeprefix("sm").replace(".", "") for word in text.split(",")] if text else []
    found = tuple(_integer(word, _CAPABILITIES) for word in words)
    if None in found:
        raise InputError(f"{text!r} is not a list of compute capabilities", fix="write for example 80,89,120")
    return tuple(one for one in found if one is not None)


def parse_ids(text: str) -> list[int]:
    """`1,2,3` as token ids."""
    found = [_integer(word.strip(), _IDS) for word in text.split(",")]
    if None in found:
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
        raise InputError(f"--ids must be integers from 0 with commas between them, found {shown!r}", fix="--ids 1,2,3")
    return [one for one in found if one is not None]


def parse_modalities(text: str) -> tuple[str, ...]:
    """`text,image` as modalities, each once. Whether a model has them is for others to check."""
    found = tuple(word.strip() for word in text.split(","))
    if len(set(found)) != len(found) or not set(found) <= set(_MODALITIES):
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
        raise InputError(f"{shown!r} is not a list of modalities", fix=f"of {', '.join(_MODALITIES)}, each once")
    return found


def _integer(word: str, among: range) -> int | None:
    """``word`` as one of ``among``; None when it is none."""
    found = int(word) if word.isascii() and word.isdigit() and len(word) <= _DIGITS else -1
    return found if found in among else None


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
