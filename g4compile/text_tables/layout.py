"""The bytes of a table: a header, and sections behind it that each start at a multiple of 16. docs/text-tables.md has
the same in words."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import cast

import numpy as np
from numpy.typing import NDArray

from g4compile.text_tables.no_table import NoTable
from g4compile.text_tables.steps import Replacement, Split

MAGIC, VERSION = b"G4TOKEN\0", 1
ALIGNMENT = 16
LONGEST_BUCKET = 64  # merges whose pairs have one hash; a table of the published size has up to 12
ENDLESS = 0xFFFFFFFF
_HEADER = struct.Struct("<8sIIQIIIIi20x")
_SECTION = struct.Struct("<QQ")
_FUSES_UNK = 1
_FIRST_FACTOR, _SECOND_FACTOR = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93)
_PAGE = 256  # characters


@dataclass(frozen=True)
class Sections:
    """The bytes of each, in the order of the file."""

    starts: bytes
    texts: bytes
    kinds: bytes
    character_pages: bytes
    characters: bytes
    byte_ids: bytes
    buckets: bytes
    merges: bytes
    given_tokens: bytes
    normalized_tokens: bytes
    normalizer: bytes
    split: bytes


@dataclass(frozen=True)
class Facts:
    """What stands in the header. ``ids``: one more than the largest. ``unk_id``: -1 where there is none."""

    ids: int
    merges: int
    bucket_bits: int
    fuse_unk: bool
    unk_id: int


def file_of(facts: Facts, sections: Sections) -> bytes:
    """The whole file."""
    parts = [cast(bytes, getattr(sections, one.name)) for one in fields(sections)]
    at = _HEADER.size + _SECTION.size * len(parts)
    rows, body = [], []
    for part in parts:
        at += -at % ALIGNMENT
        rows.append(_SECTION.pack(at, len(part)))
        body.append(part + bytes(-len(part) % ALIGNMENT))
        at += len(body[-1])
    flags = _FUSES_UNK if facts.fuse_unk else 0
    header = _HEADER.pack(
        MAGIC, VERSION, len(parts), at, facts.ids, facts.merges, facts.bucket_bits, flags, facts.unk_id
    )
    return b"".join([header, *rows, *body])


def integers(values: Iterable[int]) -> bytes:
    """int32 of ``values``."""
    return np.fromiter(values, np.int32).astype("<i4").tobytes()


def hashed(merges: NDArray[np.uint32]) -> tuple[int, bytes, bytes]:
    """Bits of a bucket's number, and the sections `buckets` and `merges`, of rows of left, right, rank, id.

    Raises NoTable where a bucket has more than a reader looks at, which no tokenizer has that was not made for it.
    """
    bits = max(1, (len(merges) // 2).bit_length())
    mixed = (merges[:, 0].astype(np.uint64) << np.uint64(32) | merges[:, 1]) * _FIRST_FACTOR
    mixed = (mixed ^ mixed >> np.uint64(32)) * _SECOND_FACTOR
    numbers = mixed >> np.uint64(64 - bits)
    counts = np.bincount(numbers.astype(np.int64), minlength=1 << bits)
    if counts.max() > LONGEST_BUCKET:
        raise NoTable("many merges have one hash")
    starts = np.concatenate([[0], np.cumsum(counts)])
    order = np.lexsort((merges[:, 1], merges[:, 0], numbers))
    return bits, starts.astype("<u4").tobytes(), merges[order].astype("<u4").tobytes()


def characters(pieces: Mapping[str, int]) -> tuple[bytes, bytes]:
    """The sections `character_pages` and `characters`: ids of the pieces that are one character."""
    pages: dict[int, NDArray[np.int32]] = {}
    for piece, index in pieces.items():
        if len(piece) == 1:
            page, place = divmod(ord(piece), _PAGE)
            pages.setdefault(page, np.full(_PAGE, -1, np.int32))[place] = index
    numbers = np.full(max(pages, default=-1) + 1, -1, np.int32)
    numbers[sorted(pages)] = range(len(pages))
    return numbers.astype("<i4").tobytes(), b"".join(pages[page].astype("<i4").tobytes() for page in sorted(pages))


def replaced(normalizer: Replacement | None) -> bytes:
    """The section `normalizer`: uint32 bytes of what is sought, uint32 of what is put, then both."""
    if normalizer is None:
        return b""
    sought, put = normalizer.sought.encode(), normalizer.put.encode()
    return struct.pack("<II", len(sought), len(put)) + sought + put


def split_program(split: Split | None) -> bytes:
    """The section `split`, uint32 throughout."""
    if split is None:
        return b""
    ends, items, ranges = list[int](), list[int](), list[int]()
    for alternative in split.alternatives:
        for item in alternative:
            ranges += [bound for both in item.ranges for bound in both]
            items += [item.least, ENDLESS if item.most is None else item.most, len(ranges) // 2]
        ends.append(len(items) // 3)
    numbers = [split.behavior, int(split.invert), len(ends), len(items) // 3, len(ranges) // 2, *ends, *items, *ranges]
    return np.array(numbers, "<u4").tobytes()
