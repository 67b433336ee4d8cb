"""The table of a bundle's tokenizer: `tokenizer.g4`, of `tokenizer.json`.

A runtime maps it and reads it where it lies (docs/text-tables.md). What it gives is what the `tokenizers` library gives
of tokenizer.json, with no special token put in front.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

from g4compile.errors import InputError
from g4compile.inputs.documents import decode_object, shown
from g4compile.runtime.text_files import TOKENIZER, kind_of
from g4compile.text_tables.added import AddedToken, read_added, tree
from g4compile.text_tables.fields import mapping, only, sequence
from g4compile.text_tables.layout import (
    Facts,
    Sections,
    characters,
    file_of,
    hashed,
    integers,
    replaced,
    split_program,
)
from g4compile.text_tables.model import MOST_IDS, read_model
from g4compile.text_tables.no_table import NoTable
from g4compile.text_tables.steps import (
    Replacement,
    byte_of,
    check_post_processor,
    read_decoder,
    read_normalizer,
    read_split,
)

TOKENIZER_TABLE = "tokenizer.g4"  # the file's name in a bundle
LONGEST_PIECE, MOST_TEXT = 4096, 1 << 30  # bytes, of a piece and of all
_TEXT, _BYTE, _SPECIAL, _NONE = range(4)


def tokenizer_table(data: bytes) -> bytes:
    """The bytes of the bundle's file `tokenizer.g4`. ``data``: those of tokenizer.json, which the `tokenizers` library
    loads. Equal bytes give equal bytes.

    Raises NoTable for what the table has no words for, and for what is no tokenizer.
    """
    try:
        fields = decode_object(data, kind_of(TOKENIZER, InputError, ""), TOKENIZER)
    except InputError as error:
        raise NoTable(error.why or error.what) from error
    only(fields, "truncation", (None,), "the tokenizer")
    only(fields, "padding", (None,), "the tokenizer")
    check_post_processor(fields.get("post_processor"))
    model = read_model(mapping(fields.get("model"), "the model"))
    normalizer, split = read_normalizer(fields.get("normalizer")), read_split(fields.get("pre_tokenizer"))
    listed = sequence(fields.get("added_tokens", []), "the list of added tokens")
    added = read_added(listed, model.pieces, normalizer.in_text if normalizer else str)
    decoded = _decoded(model.pieces, added, read_decoder(fields.get("decoder")))
    texts = b"".join(piece.text for piece in decoded)
    bits, buckets, merges = hashed(model.merges)
    pages, ids = characters(model.pieces)
    sections = Sections(
        starts=integers(accumulate((len(piece.text) for piece in decoded), initial=0)),
        texts=texts,
        kinds=bytes(piece.kind for piece in decoded),
        character_pages=pages,
        characters=ids,
        byte_ids=integers(model.byte_ids),
        buckets=buckets,
        merges=merges,
        given_tokens=_tree(added, normalized=False),
        normalized_tokens=_tree(added, normalized=True),
        normalizer=replaced(normalizer),
        split=split_program(split),
    )
    return file_of(Facts(len(decoded), len(model.merges), bits, model.fuse_unk, model.unk_id), sections)


@dataclass(frozen=True)
class _Decoded:
    """What becomes of an id in decoded text."""

    kind: int
    text: bytes


def _decoded(
    pieces: Mapping[str, int], added: Mapping[int, AddedToken], replacements: list[Replacement]
) -> list[_Decoded]:
    """Of each id. An added token has the word over the piece of its id, as `tokenizers` has it."""
    written = {**{index: piece for piece, index in pieces.items()}, **{one: added[one].sought for one in added}}
    if max(written, default=-1) >= MOST_IDS:
        raise NoTable(f"there are more than {MOST_IDS:,} tokens")
    special = {token.text for token in added.values() if token.special}
    found = [_Decoded(_NONE, b"")] * (max(written, default=-1) + 1)
    size = 0
    for index, token in written.items():
        is_special = index in added and added[index].special
        if is_special != (token in special):
            raise NoTable(f"the token {shown(token)} is special by its text or by its id, and not by both")
        found[index] = _Decoded(_SPECIAL, b"") if is_special else _visible(token, replacements)
        size += len(found[index].text)
        if size > MOST_TEXT:
            raise NoTable(f"tokens have more than {MOST_TEXT:,} bytes")
    return found


def _visible(token: str, replacements: list[Replacement]) -> _Decoded:
    text = token
    _check_length(token, text)
    for replacement in replacements:
        text = replacement.in_text(text)
        _check_length(token, text)
    byte = byte_of(token, text)
    return _Decoded(_TEXT, text.encode()) if byte is None else _Decoded(_BYTE, bytes([byte]))


def _check_length(token: str, text: str) -> None:
    if len(text.encode()) > LONGEST_PIECE:
        raise NoTable(f"the token {shown(token)} has more than {LONGEST_PIECE:,} bytes")


def _tree(added: Mapping[int, AddedToken], normalized: bool) -> bytes:
    chosen = [(token.sought, index) for index, token in added.items() if token.normalized == normalized]
    if len(dict(chosen)) != len(chosen):
        raise NoTable("two added tokens have the same text")
    return tree(dict(chosen))
