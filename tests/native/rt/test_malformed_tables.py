"""A table that is not whole gives a failure with words or some text, and never ends the process or runs on."""

from __future__ import annotations

import random
import re
import struct
import time

import pytest

from g4compile.text_tables.tokenizer import tokenizer_table
from tests.native.rt.text_library import BAD_BUNDLE, UNSUPPORTED, Failed
from tests.text_tables.documents import PUBLISHED_SPLIT, added, as_bytes, document, with_added, with_fields

TEXT = "The <|turn>user ab\n\n  12 Zürich 東京 😀 abcde<bos> of the\u2581"
IDS = [*range(0, 1030, 3), 238 + 0xC3, 5, 1 << 30]
SECTIONS = (
    "starts", "texts", "kinds", "character_pages", "characters", "byte_ids", "buckets", "merges", "given_tokens",
    "normalized_tokens", "normalizer", "split",
)  # fmt: skip
_FIRST_SECTION = 64
ODD_NUMBERS = (0, 1, 5, 255, 1023, 1024, 1 << 16, 1 << 31, (1 << 32) - 1)


def tables():
    more = with_added(added("ab"), added("abc"), added("of the", normalized=True))
    return [tokenizer_table(as_bytes(one)) for one in (document(), with_fields(pre_tokenizer=PUBLISHED_SPLIT), more)]


@pytest.fixture(scope="module")
def table():
    return tables()[2]


def section(table, name):
    """Where it starts, and its bytes."""
    return struct.unpack_from("<QQ", table, _FIRST_SECTION + 16 * SECTIONS.index(name))


def used(library, table):
    """What all calls give, or the failures of those that fail."""
    found = []
    started = time.process_time()
    try:
        tokenizer = library.tokenizer(table)
    except Failed as failed:
        return [failed]
    calls = [lambda: tokenizer.encode(TEXT), lambda: tokenizer.decode(IDS), lambda: tokenizer.stream(IDS)]
    for call in [*calls, lambda: tokenizer.encode(TEXT * 50)]:
        try:
            found.append(call())
        except Failed as failed:
            found.append(failed)
    assert time.process_time() - started < 5
    return found


def check(found):
    """Failures are of the bundle, and say what is wrong."""
    for one in found:
        if isinstance(one, Failed):
            assert one.status in (BAD_BUNDLE, UNSUPPORTED), one
            assert re.match(r"tokenizer\.g4 (is not whole: .+; compile the bundle again|has version )", str(one)), one
    return any(isinstance(one, Failed) for one in found)


def test_whole_tables_work(text_library):
    for one in tables():
        assert not check(used(text_library, one))


def test_cut_tables(text_library, table):
    """At each byte of the header and the entries of sections, and at some of the rest."""
    source = random.Random(1)
    for size in [*range(0, 300), *(source.randrange(300, len(table)) for _ in range(100))]:
        assert check(used(text_library, table[:size])), size
    assert check(used(text_library, table + b"\0"))


@pytest.mark.parametrize("seed", range(3))
def test_changed_bytes(text_library, seed):
    source = random.Random(seed)
    whole, failed = tables()[seed], 0
    for _ in range(300):
        changed = bytearray(whole)
        for _ in range(source.choice([1, 1, 2, 8])):
            changed[source.choice([source.randrange(300), source.randrange(len(whole))])] = source.randrange(256)
        failed += check(used(text_library, bytes(changed)))
    assert failed > 100


@pytest.mark.parametrize("name", SECTIONS)
def test_changed_numbers_of_a_section(text_library, table, name):
    """Each section full of one number, and some of its numbers others."""
    source = random.Random(name)
    start, size = section(table, name)
    for value in (0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1023, 1024):
        changed = bytearray(table)
        changed[start : start + size] = (struct.pack("<I", value) * (size // 4 + 1))[:size]
        check(used(text_library, bytes(changed)))
    for _ in range(60):
        changed = bytearray(table)
        for _ in range(source.choice([1, 5, 50])):
            at = start + source.randrange(max(1, size // 4)) * 4
            struct.pack_into(
                "<I", changed, at, source.choice([0, 1, 5, 255, 1023, 1024, 1 << 16, 1 << 31, (1 << 32) - 1])
            )
        check(used(text_library, bytes(changed)))


@pytest.mark.parametrize("name", SECTIONS)
def test_sections_elsewhere(text_library, table, name):
    source = random.Random(name)
    entry = _FIRST_SECTION + 16 * SECTIONS.index(name)
    for offset, size in ((1 << 63, 16), (16, 1 << 63), ((1 << 64) - 16, 32), (8, 8), (len(table), 4)):
        changed = bytearray(table)
        struct.pack_into("<QQ", changed, entry, offset, size)
        assert check(used(text_library, bytes(changed))), (offset, size)
    for _ in range(30):
        changed = bytearray(table)
        at = source.randrange(len(table) // 16) * 16
        struct.pack_into("<QQ", changed, entry, at, source.randrange(len(table) - at))
        check(used(text_library, bytes(changed)))


HEADER = [
    (0, b"G4TOKEM\0", BAD_BUNDLE, "it is no table of a tokenizer"),
    (8, struct.pack("<I", 2), UNSUPPORTED, "has version 2, and this library reads 1"),
    (12, struct.pack("<I", 11), BAD_BUNDLE, "another number of sections"),
    (16, struct.pack("<Q", 77), BAD_BUNDLE, "its header says 77"),
    (24, struct.pack("<I", 1 << 31), BAD_BUNDLE, "it has 2147483648 ids"),
    (24, struct.pack("<I", 1000), BAD_BUNDLE, "the section starts has 4112 bytes, and must have 4004"),
    (28, struct.pack("<I", 0x10000000), BAD_BUNDLE, "and must have 4294967296"),
    (32, struct.pack("<I", 64), BAD_BUNDLE, "number of buckets"),
    (32, struct.pack("<I", 0), BAD_BUNDLE, "number of buckets"),
    (36, struct.pack("<I", 2), BAD_BUNDLE, "flags that have no meaning"),
    (40, struct.pack("<i", -2), BAD_BUNDLE, "its unknown token has no id"),
    (40, struct.pack("<i", 5000), BAD_BUNDLE, "its unknown token has no id"),
]


@pytest.mark.parametrize(("at", "data", "status", "words"), HEADER, ids=range(len(HEADER)))
def test_headers(text_library, table, at, data, status, words):
    with pytest.raises(Failed, match=re.escape(words)) as raised:
        text_library.tokenizer(table[:at] + data + table[at + len(data) :])
    assert raised.value.status == status
