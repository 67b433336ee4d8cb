"""The regular expressions that a table has: alternatives of characters and classes of characters, each repeated.

What they match is what Oniguruma matches in the syntax of Ruby, which tokenizers' `Split` uses: leftmost, the first
alternative that matches, repetitions as long as possible, and shorter where the rest needs it.

All else is refused. So is what could take more steps than a text has characters, many times over: repetitions without
a small limit that are not the last of their alternative.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from g4compile.inputs.documents import shown
from g4compile.text_tables.no_table import NoTable

Range = tuple[int, int]
LAST_CHARACTER = 0x10FFFF
MOST_ALTERNATIVES, MOST_ITEMS, MOST_RANGES = 32, 64, 4096
MOST_WAYS = 64  # to choose how often the items before the last are repeated; most characters that they take, too
_REPEAT = re.compile(r"[?*+]|\{(\d{1,4})(?:(,)(\d{1,4})?)?\}")
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "a": "\a", "e": "\x1b"}
_HEXADECIMAL = re.compile(r"x([0-7][0-9A-Fa-f])|x\{([0-9A-Fa-f]{1,6})\}|u([0-9A-Fa-f]{4})")


@dataclass(frozen=True)
class Item:
    """A character of ``ranges`` (sorted, apart from each other), ``least`` to ``most`` times; None: any number."""

    ranges: tuple[Range, ...]
    least: int = 1
    most: int | None = 1


def literal_pattern(text: str) -> list[list[Item]]:
    """A pattern that matches ``text`` alone."""
    return _checked([[Item(((ord(one), ord(one)),)) for one in text]])


def parse_pattern(pattern: str) -> list[list[Item]]:
    """Alternatives, each of items that follow each other. Raises NoTable for any other expression."""
    return _checked(_Parser(pattern).alternatives())


class _Parser:
    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    def alternatives(self) -> list[list[Item]]:
        found: list[list[Item]] = [[]]
        while self._at < len(self._pattern):
            if self._take("|"):
                found.append([])
            else:
                found[-1].append(self._item())
        return found

    def _item(self) -> Item:
        if self._take("["):
            ranges = self._class()
        elif self._take("."):
            ranges = _complement([(0x0A, 0x0A)])
        elif self._peek() in "()*+?{}]^$":
            self._refuse("has what is no character, class of characters, repetition or alternative")
        else:
            one = self._character()
            ranges = ((one, one),)
        least, most = self._repetition()
        return Item(ranges, least, most)

    def _repetition(self) -> tuple[int, int | None]:
        found = _REPEAT.match(self._pattern, self._at)
        if found is None:
            return 1, 1
        self._at = found.end()
        if self._peek() and self._peek() in "?*+{":
            self._refuse("has a repetition that is lazy, possessive, or repeated")
        if found[0] in "?*+":
            return (1 if found[0] == "+" else 0), (1 if found[0] == "?" else None)
        least = int(found[1])
        most = int(found[3]) if found[3] else None if found[2] else least
        if most is not None and not least <= most > 0:
            self._refuse("has a repetition from more to less, or of nothing")
        return least, most

    def _class(self) -> tuple[Range, ...]:
        negated, ranges = self._take("^"), list[Range]()
        while not ranges or not self._take("]"):
            at_an_end = not ranges or self._peek(1) == "]"
            first = last = self._member(hyphen=at_an_end)
            if self._peek() == "-" and self._peek(1) != "]":
                self._at += 1
                last = self._member(hyphen=False)
            if last < first:
                self._refuse("has a range from more to less")
            ranges.append((first, last))
        found = _complement(ranges) if negated else _merged(ranges)
        return found or self._refuse("has a class of no character")

    def _member(self, hyphen: bool) -> int:
        """A character of a class. ``hyphen``: whether it may be one that is not escaped."""
        if self._pattern.startswith("&&", self._at) or self._peek() in ("", "[", "]"):
            self._refuse("has a class of characters that is empty, has no end, or has classes in it")
        if self._peek() == "-" and (not hyphen or self._peek(1) == "-"):
            self._refuse("has a hyphen that could be a range")
        return self._character()

    def _character(self) -> int:
        one = self._peek()
        self._at += 1
        if one != "\\":
            return ord(one)
        one = self._peek()
        if one in _ESCAPED:
            self._at += 1
            return ord(_ESCAPED[one])
        if found := _HEXADECIMAL.match(self._pattern, self._at):
            self._at = found.end()
            value = int(found[found.lastindex or 0], 16)
            if value > LAST_CHARACTER or 0xD800 <= value <= 0xDFFF:
                self._refuse("has the number of no character")
            return value
        if not one or not one.isascii() or one.isalnum() or one.isspace() or not one.isprintable():
            self._refuse(f"has the escape {shown(one)}")
        self._at += 1
        return ord(one)

    def _peek(self, ahead: int = 0) -> str:
        return self._pattern[self._at + ahead : self._at + ahead + 1]

    def _take(self, one: str) -> bool:
        if self._peek() != one:
            return False
        self._at += 1
        return True

    def _refuse(self, why: str) -> NoReturn:
        raise NoTable(f"the regular expression {shown(self._pattern)} {why}")


def _merged(ranges: list[Range]) -> tuple[Range, ...]:
    found: list[Range] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return tuple(found)


def _complement(ranges: list[Range]) -> tuple[Range, ...]:
    found, following = [], 0
    for first, last in _merged(ranges):
        if following < first:
            found.append((following, first - 1))
        following = last + 1
    return (*found, (following, LAST_CHARACTER)) if following <= LAST_CHARACTER else tuple(found)


def _checked(alternatives: list[list[Item]]) -> list[list[Item]]:
    """Refuse what is too large, matches an empty text, or takes more than some steps a character of the text."""
    if len(alternatives) > MOST_ALTERNATIVES or max(map(len, alternatives)) > MOST_ITEMS:
        raise NoTable("the regular expression is too large")
    if sum(len(item.ranges) for items in alternatives for item in items) > MOST_RANGES:
        raise NoTable("the regular expression has too many ranges of characters")
    for items in alternatives:
        if all(item.least == 0 for item in items):
            raise NoTable("the regular expression matches an empty text")
        ways, taken = 1, items[-1].least
        for item in items[:-1]:
            if item.most is None:
                raise NoTable("the regular expression has an endless repetition before the end of an alternative")
            ways, taken = ways * (item.most - item.least + 1), taken + item.most
        if ways > MOST_WAYS or taken > MOST_WAYS:
            raise NoTable("the regular expression takes too many steps")
    return alternatives
