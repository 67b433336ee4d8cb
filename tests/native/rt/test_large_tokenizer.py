"""Tokenizers of the published size: how large their tables are, how soon they open, and that they give the same ids."""

from __future__ import annotations

import random
import time

import pytest
from tokenizers import Tokenizer

from g4compile.text_tables.tokenizer import tokenizer_table
from tests.native.rt.large import IDS, MERGES, SYNTHETIC_SPLIT, constructed, trained
from tests.native.rt.test_tokenizer import compare
from tests.text_tables.documents import PUBLISHED_SPLIT, as_bytes

SOONEST = 0.02  # seconds


def seconds_to_open(library, table):
    """The least of some, of a table that is in memory."""
    found = []
    for _ in range(5):
        started = time.perf_counter()
        library.tokenizer(table)
        found.append(time.perf_counter() - started)
    return min(found)


def test_a_large_table_is_small_and_opens_at_once(text_library):
    changed = constructed(PUBLISHED_SPLIT)
    assert len(changed["model"]["vocab"]) == IDS and len(changed["model"]["merges"]) == MERGES
    table = tokenizer_table(as_bytes(changed))
    assert len(table) < 20e6
    assert seconds_to_open(text_library, table) < SOONEST
    assert text_library.tokenizer(table).encode("abcd") == [changed["model"]["vocab"]["abcd"]]


@pytest.fixture(scope="module")
def tokenizers_by_name():
    made = trained(PUBLISHED_SPLIT)
    return {
        "trained": made,
        "trained, synthetic split": {**made, "pre_tokenizer": SYNTHETIC_SPLIT},
        "constructed": constructed(PUBLISHED_SPLIT),
    }


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["trained", "trained, synthetic split", "constructed"])
def test_ids_of_large_tokenizers(text_library, tokenizers_by_name, name):
    changed = tokenizers_by_name[name]
    vocabulary = changed["model"]["vocab"]
    assert len(vocabulary) == IDS and len(changed["model"]["merges"]) > 450_000
    data = as_bytes(changed)
    table = tokenizer_table(data)
    assert len(table) < 20e6
    assert seconds_to_open(text_library, table) < SOONEST
    theirs, ours = Tokenizer.from_buffer(data), text_library.tokenizer(table)
    source = random.Random(2)
    words = [word.replace("\u2581", " ") for word in source.sample(list(vocabulary), 5000)]
    compare(theirs, ours, 1, 20_000, words)
    for separator in ("", " "):
        text = separator.join(source.choice(words) for _ in range(40_000))
        ids = theirs.encode(text, add_special_tokens=False).ids
        assert ours.encode(text) == ids
        assert ours.decode(ids) == theirs.decode(ids)
