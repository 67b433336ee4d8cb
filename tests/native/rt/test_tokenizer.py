"""Ids and texts of the C++ tokenizer are those of Hugging Face's."""

from __future__ import annotations

import random

import pytest
from tokenizers import Tokenizer

from g4compile.text_tables.tokenizer import tokenizer_table
from tests.native.rt.text_library import BAD_ARGUMENT, BAD_BUNDLE, Failed
from tests.native.rt.texts import random_ids, random_text
from tests.text_tables.documents import (
    PUBLISHED_SPLIT,
    added,
    as_bytes,
    document,
    with_added,
    with_all_merges,
    with_fields,
    with_merges,
    with_model,
    without_pieces,
)


def both(library, changed):
    data = as_bytes(changed)
    return Tokenizer.from_buffer(data), library.tokenizer(tokenizer_table(data))


def compare(theirs, ours, seed, count, more=("<unused7>", "\n\n")):
    """``count`` texts give equal ids, and these, with others between them, equal texts, at once and as a stream."""
    source = random.Random(seed)
    tokens = [*(token.content for token in theirs.get_added_tokens_decoder().values()), *more]
    most = max(theirs.get_vocab().values()) + 5
    for _ in range(count):
        text = random_text(source, tokens)
        ids = theirs.encode(text, add_special_tokens=False).ids
        assert ours.encode(text) == ids, ascii(text)
        mixed = random_ids(source, ids, most)
        decoded = theirs.decode(mixed, skip_special_tokens=True)
        assert ours.decode(mixed) == decoded, mixed
        assert "".join(ours.stream(mixed)) == decoded, mixed


@pytest.fixture(scope="module")
def ours(text_library):
    return text_library.tokenizer(tokenizer_table(as_bytes(document())))


@pytest.mark.parametrize("seed", range(4))
def test_ids_and_texts_are_those_of_hugging_face(text_library, seed):
    compare(*both(text_library, document()), seed, 2500)


NO_BYTES = [f"<0x{byte:02X}>" for byte in (0xC3, 0xE2, 0xF0, 0x41)]
LETTERS = ("e", "t", "a", "東", "\u2581", " ")
OVERLAPPING = (
    "ab",
    "abc",
    "abcde",
    "bcd",
    "\n\n",
    "\n\n\n",
    " \n",
    "\u2581\u2581",
    "<table>",
    "é",
    "東京",
    "<|turn>\n",
)
VARIANTS = {
    "published split": with_fields(pre_tokenizer=PUBLISHED_SPLIT),
    "no split": with_fields(pre_tokenizer=None),
    "no normalizer": with_fields(normalizer=None, pre_tokenizer=None),
    "another normalizer": with_fields(normalizer={"type": "Replace", "pattern": {"String": "th"}, "content": ""}),
    "all merges": {**with_all_merges(document()), "pre_tokenizer": None},
    "merges as they were written": with_model(merges=[" ".join(pair) for pair in document()["model"]["merges"]]),
    "a merge twice": with_model(merges=document()["model"]["merges"] + document()["model"]["merges"][:9]),
    "runs": with_merges(
        *((one * left, one * right) for one in "ae0\n\u2581" for left, right in ((1, 1), (2, 2), (2, 1)))
    ),
    "no merges": with_model(merges=[]),
    "some bytes": without_pieces(with_model(merges=[]), *NO_BYTES, *LETTERS),
    "some bytes, apart": without_pieces(with_model(merges=[], fuse_unk=False), *NO_BYTES, *LETTERS),
    "no bytes": without_pieces(with_model(merges=[], byte_fallback=False), *LETTERS),
    "no bytes, apart": without_pieces(with_model(merges=[], byte_fallback=False, fuse_unk=False), *LETTERS),
    "no unknown": with_model(unk_token=None),
    "tokens that overlap": with_added(*(added(text) for text in OVERLAPPING)),
    "normalized tokens": with_added(*(added(text, normalized=True) for text in (*OVERLAPPING, "a b", "of the"))),
    "special tokens": with_added(*(added(text, special=True) for text in OVERLAPPING)),
    "template": with_fields(
        post_processor={
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<bos>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<bos>": {"id": "<bos>", "ids": [2], "tokens": ["<bos>"]}},
        }
    ),
    "bare decoder": with_fields(decoder={"type": "ByteFallback"}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants(text_library, name):
    compare(*both(text_library, VARIANTS[name]), name, 250, [*OVERLAPPING, "a b", "of the"])


def test_a_long_word(text_library):
    """A text without a split is one word."""
    theirs, ours = both(text_library, VARIANTS["all merges"])
    source = random.Random(1)
    for letters in ("a", "ab", "the ", "ethaoinsr "):
        text = "".join(source.choice(letters) for _ in range(20_000))
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False).ids


def test_nothing(ours):
    assert ours.encode("") == [] and ours.decode([]) == "" and ours.stream([]) == [""]


def test_a_stream_holds_back_bytes_and_no_more(ours):
    byte, letter = 238, ours.encode("a")[0]
    assert ours.stream([letter, byte + 0xC3, 2, byte + 0xA9, letter, byte + 0xC3]) == [
        "a",
        "",
        "",
        "",
        "éa",
        "",
        "\ufffd",
    ]


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"ab\xff", 2),
        (b"\xed\xa0\x80", 0),
        (b"a\xf0\x9f\x98", 1),
        (b"\xc0\xaf", 0),
        (b"\xf4\x90\x80\x80", 0),
        (b"\x80", 0),
    ],
)
def test_what_is_no_text(ours, data, place):
    with pytest.raises(Failed, match=f"no UTF-8 at byte {place}:") as raised:
        ours.encode(data)
    assert raised.value.status == BAD_ARGUMENT


def test_ids_that_are_none(ours):
    with pytest.raises(Failed, match="a token id is -7, and must be 0 or more") as raised:
        ours.decode([5, -7])
    assert raised.value.status == BAD_ARGUMENT
    assert ours.decode([5, 1 << 30, (1 << 31) - 1]) == ours.decode([5])


def test_ids_that_the_model_does_not_have(text_library):
    """An added token behind the vocabulary."""
    table = tokenizer_table(as_bytes(with_added(added("a new one"))))
    assert text_library.tokenizer(table, 1025).encode("a new one") == [1024]
    with pytest.raises(Failed, match=r"gives the id 1024, and the model has 1024: .*tokenizer.json") as raised:
        text_library.tokenizer(table, 1024).encode("a new one")
    assert raised.value.status == BAD_BUNDLE
