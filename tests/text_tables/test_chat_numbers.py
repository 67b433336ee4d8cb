"""The numbers of a chat table stand in Python, in C++ and on the page: they are the same."""

import re
from pathlib import Path

from g4compile.text_tables import chat, chat_writer, walk, walk_values
from g4compile.text_tables.chat_code import (
    FILTERS,
    GLOBALS,
    METHODS,
    TESTS,
    Binary,
    Compare,
    LoopAttribute,
    Op,
    Unary,
)
from g4compile.text_tables.chat_format import SECTIONS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "chat-tables.md").read_text(encoding="utf-8")
SOURCES = ROOT / "native" / "src" / "rt" / "text"
HEADER = (SOURCES / "chat_code.h").read_text(encoding="utf-8")
TABLE = (SOURCES / "chat_table.cc").read_text(encoding="utf-8")


def names(kind, text=HEADER):
    """Of a C++ enum, without the underscores of words of C++, and without what stands last for how many there are."""
    body = re.search(rf"enum (?:class )?{kind}\b[^{{]*\{{([^}}]*)\}}", text)[1]
    found = [one.split("=")[0].strip().rstrip("_") for one in body.split(",")]
    return found[:-1] if found[-1] in ("last", "count", "sections") else found  # how many there are


def test_of_c_and_python():
    assert names("Op") == [one.name.lower() for one in Op]
    assert [one.value for one in Op] == list(range(1, 52))
    for kind in (Unary, Binary, Compare):
        assert names(kind.__name__) == [one.name.lower() for one in kind]
    assert names("Function") == list(GLOBALS)
    assert names("LoopAttribute") == [one.name.lower() for one in LoopAttribute]
    assert names("Filter") == list(FILTERS)
    assert names("Test") == ["truth", *TESTS]
    assert names("Method") == list(METHODS)
    assert [one.removesuffix("_of") for one in names("Section", TABLE)] == list(SECTIONS)


LIMITS = {
    "kLargest": chat._LARGEST,
    "kMostRows": chat._MOST_CODE,
    "kMostStrings": chat._MOST_STRINGS,
    "kMostRoutines": chat._MOST_ROUTINES,
    "kMostSlots": chat_writer.MOST_SLOTS,
    "kMostArguments": chat_writer.MOST_PARAMETERS,
    "kMostLoops": chat_writer.MOST_LOOPS,
    "kMostTaken": chat_writer.MOST_TAKEN,
    "kLongest": walk_values.LONGEST,
    "kMostItems": walk_values.MOST_ITEMS,
    "kMostWritten": walk_values.MOST_WRITTEN,
    "kMostSteps": walk.STEPS,
}


def test_limits_of_c_and_python():
    """What Python writes, C++ takes."""
    sources = "".join(
        (SOURCES / f"chat_{name}").read_text(encoding="utf-8") for name in ("table.cc", "table.h", "work.h")
    )
    found = {}
    for name in LIMITS:
        number, shift = re.search(rf"\b{name} = (\d+)u?(?: << (\d+))?[,;]", sources).groups()
        found[name] = int(number) << int(shift or 0)
    assert found == LIMITS


def test_of_the_page():
    rows = re.findall(r"^\| ([\d, ]+) \| ([A-Z_, ]+) \|", PAGE, re.MULTILINE)
    listed = {}
    for numbers, words in rows:
        listed.update(zip(words.split(", "), map(int, numbers.split(", ")), strict=True))
    assert listed == {one.name: one.value for one in Op}
    for word, table in (("Filters", FILTERS), ("Tests", TESTS), ("Methods", METHODS)):
        part = re.search(rf"- {word} \(1, 2, \.\.\.\): (.*?)(?:\.|, and other)[\s]", PAGE, re.DOTALL)[1]
        assert re.findall(r"`(\w+)`", re.sub(r" \(`\w+`\)", "", part)) == list(table)
    sections = re.findall(r"^\| ([a-z_, ]+) \| ", PAGE[PAGE.index("| section") :], re.MULTILINE)
    assert ", ".join(one for one in sections if one not in ("section", "op")) == ", ".join(SECTIONS)
