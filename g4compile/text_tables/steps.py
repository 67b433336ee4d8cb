"""What stands around the model in tokenizer.json: normalizer, pre-tokenizer, post-processor and decoder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from g4compile.inputs.documents import shown
from g4compile.text_tables.fields import flag, kind_of, literal, mapping, sequence, string
from g4compile.text_tables.no_table import NoTable
from g4compile.text_tables.pattern import Item, literal_pattern, parse_pattern

LONGEST_REPLACED = 64  # bytes of what a replacement seeks, and of what it puts
MOST_REPLACEMENTS = 8  # of a decoder, each of which reads every token
BEHAVIORS = {"Removed": 1, "Isolated": 2, "MergedWithPrevious": 3, "MergedWithNext": 4, "Contiguous": 5}
# As tokenizers' `ByteFallback` reads a token: Rust's `from_str_radix` takes a sign.
_BYTE = re.compile(r"<0x(\+[0-9A-Fa-f]|[0-9A-Fa-f]{2})>")
_SHOWN_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")  # as `runtime/text.py` does


@dataclass(frozen=True)
class Replacement:
    """Every ``sought``, from left to right, becomes ``put``."""

    sought: str
    put: str

    def in_text(self, text: str) -> str:
        return text.replace(self.sought, self.put)


@dataclass(frozen=True)
class Split:
    """How a text is cut into words. ``behavior``: what becomes of a match, by the numbers of `BEHAVIORS`."""

    alternatives: list[list[Item]]
    behavior: int
    invert: bool


def read_normalizer(value: object) -> Replacement | None:
    """The field `normalizer`. Raises NoTable for any but one replacement of plain text."""
    if value is None:
        return None
    kind, fields = kind_of(value, "the normalizer")
    if kind != "Replace":
        raise NoTable(f"the normalizer is {shown(kind)}, and only Replace has a table")
    return _replacement(fields, "the normalizer")


def read_split(value: object) -> Split | None:
    """The field `pre_tokenizer`. Raises NoTable for any but one `Split` whose pattern has a table."""
    if value is None:
        return None
    kind, fields = kind_of(value, "the pre-tokenizer")
    if kind != "Split":
        raise NoTable(f"the pre-tokenizer is {shown(kind)}, and only Split has a table")
    behavior = string(fields.get("behavior"), "the behavior of the pre-tokenizer")
    if behavior not in BEHAVIORS:
        raise NoTable(f"the behavior of the pre-tokenizer is {shown(behavior)}")
    pattern = mapping(fields.get("pattern"), "the pattern of the pre-tokenizer")
    if set(pattern) == {"Regex"}:
        alternatives = parse_pattern(string(pattern["Regex"], "the pattern of the pre-tokenizer"))
    else:
        alternatives = literal_pattern(literal(fields, "the pre-tokenizer"))
    return Split(alternatives, BEHAVIORS[behavior], flag(fields, "invert", "the pre-tokenizer"))


def check_post_processor(value: object) -> None:
    """Raises NoTable where the field `post_processor` changes ids that are encoded without special tokens."""
    if value is None:
        return
    kind, fields = kind_of(value, "the post-processor")
    if kind != "TemplateProcessing":
        raise NoTable(f"the post-processor is {shown(kind)}, and only TemplateProcessing is known")
    pieces = [
        mapping(piece, "a piece of the post-processor") for piece in sequence(fields.get("single"), "its template")
    ]
    texts = [piece["Sequence"] for piece in pieces if "Sequence" in piece]
    if len(texts) != 1 or mapping(texts[0], "a piece of the post-processor").get("id") != "A":
        raise NoTable("the template of the post-processor does not hold the text once")


def read_decoder(value: object) -> list[Replacement]:
    """Replacements of the field `decoder`, which are made in each token before bytes are joined. Raises NoTable for any
    other decoder."""
    kind, fields = kind_of(value, "the decoder")
    steps = sequence(fields.get("decoders"), "the steps of the decoder") if kind == "Sequence" else [value]
    kinds = [kind_of(step, "a step of the decoder") for step in steps]
    names = [name for name, _ in kinds]
    replaced = names.count("Replace")
    if names[replaced:] not in (["ByteFallback"], ["ByteFallback", "Fuse"]):
        raise NoTable(f"the decoder is {shown(names)}, and only Replace, ByteFallback, Fuse has a table")
    if replaced > MOST_REPLACEMENTS:
        raise NoTable(f"the decoder replaces {replaced:,} texts, and at most {MOST_REPLACEMENTS} are read")
    return [_replacement(fields, "the decoder") for _, fields in kinds[:replaced]]


def byte_of(token: str, decoded: str) -> int | None:
    """The byte that a token stands for when it is decoded, or None. ``decoded``: what replacements make of it.

    Raises NoTable for one that decodes as a byte and is not written as one, or the reverse: streams hold it back, or
    show it, by how it is written.
    """
    found = _BYTE.fullmatch(decoded)
    if bool(found) != bool(_SHOWN_BYTE.fullmatch(token)):
        raise NoTable(f"the token {shown(token)} is decoded as a byte and not written as one, or the reverse")
    return int(found[1], 16) if found else None


def _replacement(fields: Mapping[str, Any], where: str) -> Replacement:
    found = Replacement(literal(fields, where), string(fields.get("content"), f"the content of {where}"))
    if max(len(found.sought.encode()), len(found.put.encode())) > LONGEST_REPLACED:
        raise NoTable(f"{where} seeks or writes more than {LONGEST_REPLACED} bytes")
    return found
