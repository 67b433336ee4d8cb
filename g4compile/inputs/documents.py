"""Bytes that nobody vouches for as text and JSON: UTF-8, without names that stand twice, and not nested without end."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from itertools import accumulate
from pathlib import Path
from typing import Any, NoReturn

from g4compile.inputs.files import Kind

_DEEPEST = 64  # of nested objects and lists: real configs, manifests and tokenizers have fewer than ten
_SHOWN = 80  # characters of a value that an error shows
_DIGITS = 400  # of a number: those of the longest float
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_OTHER = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = {byte: 1 if byte in b"[{" else -1 for byte in b"[]{}"}


def decode_text(data: bytes, kind: Kind, where: str | Path) -> str:
    """``data`` as UTF-8. Raises ``kind.error`` with the place of the first byte that is none."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise kind.refuse(f"{kind.name} is not UTF-8 text", where, f"byte {error.start}: {error.reason}") from error


def decode_object(data: bytes, kind: Kind, where: str | Path) -> dict[str, Any]:
    """As `decode_json`, of what must be an object."""
    found = decode_json(data, kind, where)
    if not isinstance(found, dict):
        raise kind.refuse(f"{kind.name} does not hold a JSON object", where, f"it holds {shown(found)}")
    return found


def decode_json(data: bytes, kind: Kind, where: str | Path) -> Any:
    """``data`` as JSON: objects as dicts, lists, str, int, float, bool, None; no NaN and no Infinity.

    Raises ``kind.error`` with the reason: no JSON, nested deeper than 64, a name twice in one object, a number of more
    than 400 digits or beyond the greatest float, a string that is no Unicode text.
    """

    def refuse(why: str) -> NoReturn:
        raise kind.refuse(f"{kind.name} is not valid JSON", where, why)

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(found)
        if len(made) != len(found):
            names = Counter(name for name, _ in found)
            refuse(f"the name {names.most_common(1)[0][0]!r} stands twice in one object")
        return made

    def integer(digits: str) -> int:
        if len(digits) > _DIGITS:
            refuse(f"a number has {len(digits):,} digits")
        return int(digits)

    def real(digits: str) -> float:
        found = float(digits)
        if math.isinf(found):
            refuse(f"the number {shown(digits)} is beyond what 64 bits hold")
        return found

    text = decode_text(data, kind, where)
    if _depth(data) > _DEEPEST:
        refuse(f"it is nested deeper than {_DEEPEST}")
    try:
        found = json.loads(
            text,
            object_pairs_hook=pairs,
            parse_int=integer,
            parse_float=real,
            parse_constant=lambda word: refuse(f"{word} is no number of JSON"),
        )
    except json.JSONDecodeError as error:
        refuse(str(error))
    if _SURROGATE.search(data) and not is_text(json.dumps(found, ensure_ascii=False)):
        refuse("a string has one half of a pair of surrogates, which no file and no terminal takes")
    return found


def is_text(value: str) -> bool:
    """Whether ``value`` is Unicode text. Bytes of the command line that are not UTF-8 stand in it as halves of pairs of
    surrogates, which no library takes in a path or a prompt."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(value: Any) -> str:
    """``value`` as JSON-like text for a message: short, and in ASCII."""
    if type(value) is int and abs(value) >= 10**_SHOWN:
        return f"an integer of about {int(math.log10(abs(value)))} digits"
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _depth(data: bytes) -> int:
    """How deep brackets are nested, those in strings left out."""
    brackets = _STRING.sub(b'""', data).translate(None, _OTHER)
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)
