"""What a walker of chat tables must know of Unicode: cases of letters, and which characters `repr` shows.

Made from this Python's own `str`, as Jinja uses it, so that both have one version of Unicode.
"""

from __future__ import annotations

import functools
import struct
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

Range = tuple[int, int]  # first and last character
Run = tuple[int, int, int, int]  # first and last character, every how many, what is added
Special = tuple[int, tuple[int, ...]]  # a character, and the two or three that it becomes

_RANGES = ("hidden", "cased", "ignorable")
_CASES = ("lower", "upper", "title")
UNICODE_SECTIONS = (*_RANGES, *_CASES, *(f"{name}_special" for name in _CASES))
_SIGMA = "Σ"  # lower-cased to one letter at the end of a word, to another one elsewhere
_FINAL = "ς"


@dataclass(frozen=True)
class CaseTables:
    """``hidden``: what `repr` escapes. ``cased`` and ``ignorable``: letters beside a capital sigma (Unicode, 3.13).

    Empty: a walker knows ASCII alone, and refuses to change other letters.
    """

    hidden: Sequence[Range] = ()
    cased: Sequence[Range] = ()
    ignorable: Sequence[Range] = ()
    lower: tuple[Sequence[Run], Sequence[Special]] = ((), ())
    upper: tuple[Sequence[Run], Sequence[Special]] = ((), ())
    title: tuple[Sequence[Run], Sequence[Special]] = ((), ())

    def encode(self) -> dict[str, bytes]:
        """Sections of a chat table, by name."""
        packed = {name: b"".join(struct.pack("<II", *one) for one in getattr(self, name)) for name in _RANGES}
        for name in _CASES:
            runs, special = getattr(self, name)
            packed[name] = b"".join(struct.pack("<IIIi", *one) for one in runs)
            packed[f"{name}_special"] = b"".join(_special(*one) for one in special)
        return packed


def _special(character: int, becomes: tuple[int, ...]) -> bytes:
    return struct.pack("<4I", character, *becomes, *[0] * (3 - len(becomes)))


@functools.cache
def case_tables() -> CaseTables:
    """Those of all of Unicode, some 15 kB."""
    characters = [one for one in range(sys.maxunicode + 1) if unicodedata.category(chr(one)) not in ("Cn", "Co", "Cs")]
    cased = {one for one in characters if (chr(one) + _SIGMA).lower()[-1] == _FINAL}
    ignorable = [one for one in characters if one not in cased and f"A{chr(one)}{_SIGMA}".lower()[-1] == _FINAL]
    shown = {one for one in characters if chr(one).isprintable()}
    return CaseTables(
        _ranges(one for one in range(sys.maxunicode + 1) if one not in shown),
        _ranges(sorted(cased)),
        _ranges(ignorable),
        *(_changed(characters, change) for change in (str.lower, str.upper, str.title)),
    )


def _ranges(characters: Iterable[int]) -> list[Range]:
    found: list[Range] = []
    for one in characters:
        if found and found[-1][1] == one - 1:
            found[-1] = (found[-1][0], one)
        else:
            found.append((one, one))
    return found


def _changed(characters: Iterable[int], change: Callable[[str], str]) -> tuple[list[Run], list[Special]]:
    runs: list[Run] = []
    special: list[Special] = []
    for one in characters:
        becomes = tuple(map(ord, change(chr(one))))
        if len(becomes) > 1:
            special.append((one, becomes))
        elif becomes != (one,):
            _join(runs, one, becomes[0] - one)
    return runs, special


def _join(runs: list[Run], character: int, added: int) -> None:
    """One more character, in the last of ``runs`` where it fits: capital and small letters often take turns."""
    if runs:
        first, last, every, same = runs[-1]
        step = character - last
        if added == same and (step == every or (first == last and step <= 2)):
            runs[-1] = (first, character, step, same)
            return
    runs.append((character, character, 1, added))
