"""Small tokenizers as tokenizer.json has them: the one of synthetic checkpoints, and changes of it."""

from __future__ import annotations

import copy
import functools
import json
import tempfile
from pathlib import Path

from g4compile.model import presets
from g4compile.synth.tokenizer import write_tokenizer

PUBLISHED_SPLIT = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}


@functools.cache
def _written():
    with tempfile.TemporaryDirectory() as folder:
        write_tokenizer(Path(folder), presets.config("tiny-e2b"), 1024)
        return (Path(folder) / "tokenizer.json").read_bytes()


def document():
    """A copy of the synthetic tokenizer's file, as an object."""
    return json.loads(_written())


def as_bytes(changed):
    return json.dumps(changed, ensure_ascii=False).encode()


def with_model(**fields):
    changed = document()
    changed["model"].update(fields)
    return changed


def with_fields(**fields):
    return {**document(), **fields}


def with_split(pattern, behavior="Isolated", invert=False):
    return with_fields(
        pre_tokenizer={"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}, normalizer=None
    )


def added(content, **options):
    """An entry of `added_tokens`."""
    given = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False, **options}
    return {"id": 5000, "content": content, **given}


def with_added(*tokens):
    changed = document()
    changed["added_tokens"] += tokens
    return changed


def without_pieces(changed, *pieces):
    """The same ids, and other names in the place of ``pieces``."""
    made = copy.deepcopy(changed)
    vocabulary = made["model"]["vocab"]
    made["model"]["vocab"] = {
        f"gone {index}" if piece in pieces else piece: index for piece, index in vocabulary.items()
    }
    return made


def with_merges(*pairs):
    """These merges before all others, what they make behind the vocabulary, and a text as one word."""
    vocabulary = document()["model"]["vocab"]
    for left, right in pairs:
        vocabulary.setdefault(left + right, len(vocabulary))
    merges = [*map(list, pairs), *document()["model"]["merges"]]
    return {**with_model(vocab=vocabulary, merges=merges), "pre_tokenizer": None}


def with_all_merges(changed):
    """Each piece may be made of any two, as in vocabularies that come from SentencePiece: one id of several pairs."""
    vocabulary = changed["model"]["vocab"]
    merges = []
    for piece in sorted(vocabulary, key=vocabulary.__getitem__):
        pairs = [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))]
        known = [pair for pair in pairs if pair[0] in vocabulary and pair[1] in vocabulary]
        merges += [list(pair) for pair in sorted(known, key=lambda pair: [vocabulary[part] for part in pair])]
    made = copy.deepcopy(changed)
    made["model"]["merges"] = merges
    return made
