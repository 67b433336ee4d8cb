"""Added tokens of tokenizer.json: their ids, and the trees in which a text is searched for them.

As tokenizers' `AddedVocabulary` (tokenizer/added_vocabulary.rs) reads them: the id in the file is not asked for.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from g4compile.inputs.documents import shown
from g4compile.text_tables.fields import flag, mapping, string
from g4compile.text_tables.no_table import NoTable

LONGEST, MOST_BYTES = 1024, 1 << 20  # of an added token, and of all
_NODE = struct.Struct("<IHBBi")
_REFUSED = ("single_word", "lstrip", "rstrip")


@dataclass(frozen=True)
class AddedToken:
    """``text``: as the file has it. ``sought``: as it stands in a text: in one that is normalized where ``normalized``,
    else in the text as it is given."""

    text: str
    sought: str
    normalized: bool
    special: bool


def read_added(
    listed: Iterable[Any], pieces: Mapping[str, int], normalize: Callable[[str], str]
) -> dict[int, AddedToken]:
    """Added tokens by id. ``pieces``: of the model, whose ids they take where they are among them."""
    ids: dict[str, int] = {}
    found: dict[int, AddedToken] = {}
    following, size = len(pieces), 0
    for entry in listed:
        fields = mapping(entry, "an added token")
        text = string(fields.get("content"), "an added token")
        where = f"the added token {shown(text)}"
        if not text:
            continue
        for option in _REFUSED:
            if flag(fields, option, where):
                raise NoTable(f"{where} has {option}")
        normalized = flag(fields, "normalized", where)
        sought = normalize(text) if normalized and len(text) <= LONGEST else text
        if not 0 < len(sought.encode()) <= LONGEST:
            raise NoTable(f"{where} has no byte, or more than {LONGEST:,}")
        size += len(sought.encode())
        if size > MOST_BYTES:
            raise NoTable(f"added tokens have more than {MOST_BYTES:,} bytes")
        index = ids.get(text, pieces.get(text))
        if index is None:
            index, following = following, following + 1
        special = flag(fields, "special", where)
        if text in ids and found[index].special != special:  # `tokenizers` has it special by its text from then on
            raise NoTable(f"{where} stands twice, and is special once")
        ids[text] = index
        found[index] = AddedToken(text, sought, normalized, special)
    return found


@dataclass
class _Node:
    index: int = -1
    children: dict[int, _Node] = field(default_factory=dict)


def tree(tokens: Mapping[str, int]) -> bytes:
    """Nodes of 12 bytes of the tree of all ``tokens``, the root first; no byte where there is no token.

    A node: uint32 the number of its first child, uint16 how many it has, which stand side by side in the order of their
    bytes and behind it, uint8 its byte, uint8 0, int32 the id of the token that ends in it, or -1.
    """
    root = _Node()
    for text, index in tokens.items():
        node = root
        for byte in text.encode():
            node = node.children.setdefault(byte, _Node())
        node.index = index
    rows, level, following = [], [(0, root)], 1
    for byte, node in level:  # which grows: a row for each, in the order of their distance from the root
        children = sorted(node.children.items())
        rows.append(_NODE.pack(following, len(children), byte, 0, node.index))
        level += children
        following += len(children)
    return b"".join(rows) if tokens else b""
