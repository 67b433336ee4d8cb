"""Bytes that nobody vouches for as text and JSON: UTF-8, without names that stand twice, and not nested without end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NoReturn

from g4compile.inputs.files import Kind

_DEEPEST = 64  # of nested objects and lists: real configs, manifests and tokenizers have fewer than ten
_DIGITS = 400  # of a number: those of the longest float
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")


def decode_text(data: bytes, kind: Kind, where: str | Path) -> str:
    """``data`` as UTF-8. Raises ``kind.error`` with the place of the first byte that is none."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise kind.refuse(f"{kind.name} is not UTF-8 text", where, f"byte {error.start}: {error.reason}") from error


def decode_json(data: bytes, kind: Kind, where: str | Path) -> Any:
    """``data`` as JSON: objects as dicts, lists, str, int, float, bool, None; no NaN and no Infinity.

    Raises ``kind.error`` with the reason: no JSON, nested deeper than 64, a name twice in one object, a number of more
    than 400 digits.
    """

    def refuse(why: str) -> NoReturn:
        raise kind.refuse(f"{kind.name} is not valid JSON", where, why)

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(found)
        if len(made) != len(found):
            names = [name for name, _ in found]
            refuse(f"the name {next(name for name in names if names.count(name) > 1)!r} stands twice in one object")
        return made

    def integer(digits: str) -> int:
        if len(digits) > _DIGITS:
            refuse(f"a number has {len(digits):,} digits")
        return int(digits)

    text = decode_text(data, kind, where)
    if _depth(data) > _DEEPEST:
        refuse(f"it is nested deeper than {_DEEPEST}")
    try:
        return json.loads(
            text,
            object_pairs_hook=pairs,
            parse_int=integer,
            parse_constant=lambda word: refuse(f"{word} is no number of JSON"),
        )
    except json.JSONDecodeError as error:
        refuse(str(error))


def _depth(data: bytes) -> int:
    """How deep brackets are nested, those in strings left out."""
    deepest = depth = 0
    for bracket in _BRACKETS.findall(_STRING.sub(b'""', data)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest
