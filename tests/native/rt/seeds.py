"""Small inputs of the fuzzer of tokenizer tables: tables that are whole, each with a text.

python -m tests.native.rt.seeds FOLDER
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

from g4compile.text_tables.tokenizer import tokenizer_table
from tests.text_tables.documents import PUBLISHED_SPLIT, added, as_bytes, with_fields

VOCABULARY = ["<unk>", "a", "b", "ab", "\u2581", "\u2581a", "aab", "é", "1", "\n", "<0x41>", "<0xC3>", "<0xA9>"]
MERGES = [["a", "b"], ["\u2581", "a"], ["a", "ab"]]
PATTERN = {"Regex": "\u2581?[^\u2581\\n0-9]+|[0-9]{1,3}|\\n|a?b{2,}"}


def small(**fields):
    model = {"type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True, "merges": MERGES}
    model["vocab"] = {piece: index for index, piece in enumerate(VOCABULARY)}
    tokens = [added("<a>", special=True), added("<ab>"), added("\n\n"), added("b b", normalized=True)]
    return with_fields(model=model, added_tokens=tokens, **fields)


def seeds():
    """Inputs by name."""
    tables = {
        "published": small(pre_tokenizer=PUBLISHED_SPLIT),
        "expression": small(pre_tokenizer={**PUBLISHED_SPLIT, "pattern": PATTERN}),
    }
    text = " ab<a>aab A\u00e9\n\n123 b b bbb<ab>\u6771".encode()
    made = {name: tokenizer_table(as_bytes(changed)) for name, changed in tables.items()}
    return {name: struct.pack("<I", len(table)) + table + text for name, table in made.items()}


if __name__ == "__main__":
    for name, data in seeds().items():
        (Path(sys.argv[1]) / name).write_bytes(data)
