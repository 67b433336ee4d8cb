"""The mutators: a seed names an input, what they are given stays, and they reach every kind of change."""

from __future__ import annotations

import copy
import json
import random

from tests.fuzz.mutate import mutate_bytes, mutate_json, mutate_text, several

DOCUMENT = {"name": "x", "layers": [{"size": 4, "kinds": ["full", None]}, {"size": 2.5}], "tied": True, "rest": {}}
TEXT = "agraph (float[2] x) => (float[2] y) { y = Relu (x) }"


def test_a_seed_names_an_input() -> None:
    for seed in range(50):
        assert mutate_bytes(random.Random(seed), TEXT.encode()) == mutate_bytes(random.Random(seed), TEXT.encode())
        first, second = (json.dumps(mutate_json(random.Random(seed), DOCUMENT)) for _ in range(2))
        assert first == second


def test_what_is_given_stays() -> None:
    before = copy.deepcopy(DOCUMENT)
    for seed in range(300):
        several(random.Random(seed), mutate_json, DOCUMENT)
    assert before == DOCUMENT


def test_bytes_grow_shrink_and_keep_their_length() -> None:
    data = TEXT.encode()
    lengths = [len(mutate_bytes(random.Random(seed), data)) for seed in range(300)]
    assert min(lengths) < len(data) < max(lengths) and lengths.count(len(data)) > 20
    assert mutate_bytes(random.Random(0), b"")


def test_text_stays_text_and_its_words_change() -> None:
    changed = {mutate_text(random.Random(seed), TEXT, ("Relu", "Sigmoid")) for seed in range(200)}
    assert any("Sigmoid" in text for text in changed) and len(changed) > 60
    assert all(text.encode().decode() == text for text in changed)


def test_json_loses_gains_and_changes_values() -> None:
    changed = [mutate_json(random.Random(seed), DOCUMENT) for seed in range(600)]
    documents = [document for document in changed if isinstance(document, dict)]
    assert len(documents) < len(changed), "the document itself is never replaced"
    assert any("name" not in document for document in documents)
    assert any("name_2" in document for document in documents)
    assert any(
        len(document.get("layers") or ()) == 3 for document in documents if isinstance(document.get("layers"), list)
    )
    assert len({json.dumps(document) for document in changed}) > 200


def test_values_that_hold_nothing_are_documents_too() -> None:
    for value in (None, 0, "", [], {}):
        assert len({json.dumps(mutate_json(random.Random(seed), value)) for seed in range(50)}) > 10
