"""The model of tokenizer.json: pieces with ids, merges with ranks, and what stands for an unknown character.

As tokenizers' `BPE` (models/bpe/model.rs and serialization.rs) reads them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from g4compile.inputs.documents import shown
from g4compile.text_tables.fields import flag, mapping, only, sequence, string
from g4compile.text_tables.no_table import NoTable

MOST_IDS = 1 << 21  # a table has a row for each, whether a piece has it or not
_WHERE = "the model"


@dataclass(frozen=True)
class Model:
    """``merges``: uint32 [merges, 4], each the ids of left and right piece, its rank, and the id of what it makes; a
    pair stands once. ``byte_ids``: those of the pieces `<0x00>` to `<0xFF>`. -1 is an id that is not there."""

    pieces: Mapping[str, int]
    merges: NDArray[np.uint32]
    unk_id: int
    fuse_unk: bool
    byte_ids: tuple[int, ...]


def read_model(fields: Mapping[str, Any]) -> Model:
    """The field `model` of tokenizer.json. Raises NoTable for what is no byte-pair encoding, or one with options that
    published tokenizers of Gemma do not have."""
    if fields.get("type", "BPE") != "BPE":
        raise NoTable(f"the type of {_WHERE} is {shown(fields['type'])}, and only BPE has a table")
    only(fields, "dropout", (None, 0, 0.0), _WHERE)
    only(fields, "continuing_subword_prefix", (None, ""), _WHERE)
    only(fields, "end_of_word_suffix", (None, ""), _WHERE)
    only(fields, "ignore_merges", (None, False), _WHERE)
    pieces = _pieces(mapping(fields.get("vocab"), "the vocabulary"))
    byte_ids = tuple(pieces.get(f"<0x{byte:02X}>", -1) for byte in range(256))
    if not flag(fields, "byte_fallback", _WHERE):
        byte_ids = (-1,) * 256
    unk = fields.get("unk_token")
    if unk is not None and string(unk, f"unk_token of {_WHERE}") not in pieces:
        raise NoTable(f"unk_token of {_WHERE} is {shown(unk)}, which is not in the vocabulary")
    if unk is None and -1 in byte_ids:
        raise NoTable("an unknown character has neither byte tokens nor an unknown token, so that it would be lost")
    merges = _merges(sequence(fields.get("merges"), "the list of merges"), pieces)
    return Model(pieces, merges, -1 if unk is None else pieces[unk], flag(fields, "fuse_unk", _WHERE), byte_ids)


def _pieces(vocabulary: Mapping[str, Any]) -> dict[str, int]:
    for piece, index in vocabulary.items():
        if type(index) is not int or not 0 <= index < MOST_IDS:
            raise NoTable(f"the id of the piece {shown(piece)} is {shown(index)}, and must be below {MOST_IDS:,}")
    if len(set(vocabulary.values())) != len(vocabulary):
        raise NoTable("two pieces of the vocabulary have the same id")
    return dict(vocabulary)


def _merges(listed: list[Any], pieces: Mapping[str, int]) -> NDArray[np.uint32]:
    found: dict[tuple[int, int], tuple[int, int]] = {}
    try:
        for rank, (left, right) in enumerate(_pairs(listed)):
            found[pieces[left], pieces[right]] = rank, pieces[left + right]  # of two equal ones the later counts
    except (KeyError, TypeError) as error:  # TypeError: a part of it is no string
        raise NoTable(f"a merge has or makes what is not in the vocabulary: {shown(error.args[0])}") from error
    rows = [(left, right, rank, made) for (left, right), (rank, made) in found.items()]
    return np.array(rows, np.uint32).reshape(-1, 4)


def _pairs(listed: list[Any]) -> Iterator[tuple[str, str]]:
    """Merges as they are written now, `["a", "b"]`, or as they were, `"a b"`."""
    for merge in listed:
        if isinstance(merge, str) and merge.startswith("#version"):
            continue
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or len(pair) != 2:
            raise NoTable(f"a merge is {shown(merge)}, and must be two pieces")
        yield pair[0], pair[1]
