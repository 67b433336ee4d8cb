"""The table of a tokenizer: equal bytes of equal files, and a plain reason where there is none."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer

from g4compile.text_tables.no_table import NoTable
from g4compile.text_tables.tokenizer import tokenizer_table
from tests.text_tables.documents import (
    PUBLISHED_SPLIT,
    added,
    as_bytes,
    document,
    with_added,
    with_fields,
    with_model,
    with_split,
    without_pieces,
)

REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
DECODERS = [
    {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
    {"type": "ByteFallback"},
    {"type": "Fuse"},
]
MERGES = document()["model"]["merges"]


def test_equal_files_have_equal_tables():
    table = tokenizer_table(as_bytes(document()))
    assert table == tokenizer_table(as_bytes(document()))
    backwards = document()
    backwards["model"]["vocab"] = dict(reversed(backwards["model"]["vocab"].items()))
    backwards["added_tokens"].reverse()
    assert table == tokenizer_table(as_bytes(backwards))


def test_it_is_small():
    data = as_bytes(document())
    assert len(tokenizer_table(data)) < len(data)


def decoded_by(*decoders):
    return with_fields(decoder={"type": "Sequence", "decoders": list(decoders)})


def posted(**fields):
    return with_fields(post_processor={"type": "TemplateProcessing", "pair": [], "special_tokens": {}, **fields})


REFUSED = {
    "another model": (with_model(type="Unigram"), "the type of the model is 'Unigram'"),
    "dropout": (with_model(dropout=0.1), "dropout of the model is 0.1"),
    "prefix": (with_model(continuing_subword_prefix="##"), "continuing_subword_prefix of the model is '##'"),
    "suffix": (with_model(end_of_word_suffix="</w>"), "end_of_word_suffix of the model is '</w>'"),
    "ignored merges": (with_model(ignore_merges=True), "ignore_merges of the model is True"),
    "no unknown": (
        with_model(byte_fallback=False, unk_token=None),
        "an unknown character has neither byte tokens nor an unknown token",
    ),
    "a byte is lost": (without_pieces(with_model(unk_token=None, merges=[]), "<0xC3>"), "neither byte tokens"),
    "unknown is not there": (with_model(unk_token="<what>"), "unk_token of the model is '<what>'"),
    "an id twice": (with_model(vocab={**document()["model"]["vocab"], "zzz": 5}), "two pieces of the vocabulary"),
    "a high id": (with_model(vocab={**document()["model"]["vocab"], "zzz": 1 << 21}), "the id of the piece 'zzz'"),
    "no id": (with_model(vocab={"zzz": True}), "the id of the piece 'zzz' is True"),
    "a merge of nothing": (with_model(merges=[["no", "thing"]]), "what is not in the vocabulary: 'nothing'"),
    "a merge of numbers": (with_model(merges=[[5, []]]), "what is not in the vocabulary"),
    "a merge of three": (with_model(merges=["a b c"]), "a merge is 'a b c'"),
    "truncation": (with_fields(truncation={"max_length": 5}), "truncation of the tokenizer"),
    "padding": (with_fields(padding={}), "padding of the tokenizer"),
    "another normalizer": (with_fields(normalizer={"type": "NFC"}), "the normalizer is 'NFC'"),
    "two normalizers": (
        with_fields(normalizer={"type": "Sequence", "normalizers": [REPLACE]}),
        "the normalizer is 'Sequence'",
    ),
    "a normalizer of a pattern": (
        with_fields(normalizer={**REPLACE, "pattern": {"Regex": " +"}}),
        "only plain text is known there",
    ),
    "a normalizer of nothing": (with_fields(normalizer={**REPLACE, "pattern": {"String": ""}}), "is empty"),
    "a long normalizer": (with_fields(normalizer={**REPLACE, "content": "x" * 65}), "more than 64 bytes"),
    "another pre-tokenizer": (with_fields(pre_tokenizer={"type": "Whitespace"}), "the pre-tokenizer is 'Whitespace'"),
    "another behavior": (with_fields(pre_tokenizer={**PUBLISHED_SPLIT, "behavior": "Odd"}), "the behavior"),
    "no decoder": (with_fields(decoder=None), "the decoder is None"),
    "another decoder": (with_fields(decoder={"type": "ByteLevel"}), "the decoder is ['ByteLevel']"),
    "a decoder that strips": (
        decoded_by(*DECODERS, {"type": "Strip", "content": " ", "start": 1, "stop": 0}),
        "the decoder is ['Replace', 'ByteFallback', 'Fuse', 'Strip']",
    ),
    "a decoder without bytes": (decoded_by(DECODERS[0], DECODERS[2]), "the decoder is ['Replace', 'Fuse']"),
    "a decoder that replaces late": (decoded_by(DECODERS[1], DECODERS[0]), "the decoder is"),
    "bytes by their looks": (
        decoded_by({**DECODERS[0], "pattern": {"String": "\n"}, "content": "<0x41>"}, *DECODERS[1:]),
        "is decoded as a byte and not written as one",
    ),
    "a decoder that grows": (
        decoded_by(*[{**DECODERS[0], "pattern": {"String": "a"}, "content": "a" * 64}] * 6, *DECODERS[1:]),
        "has more than 4,096 bytes",
    ),
    "a decoder of many steps": (decoded_by(*DECODERS[:1] * 9, *DECODERS[1:]), "the decoder replaces 9 texts"),
    "another post-processor": (with_fields(post_processor={"type": "ByteLevel"}), "the post-processor is 'ByteLevel'"),
    "a text twice": (
        posted(single=[{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]),
        "does not hold the text once",
    ),
    "single words": (with_added(added("ab", single_word=True)), "the added token 'ab' has single_word"),
    "stripped": (with_added(added("ab", lstrip=True)), "the added token 'ab' has lstrip"),
    "stripped behind": (with_added(added("ab", rstrip=True)), "the added token 'ab' has rstrip"),
    "a long token": (with_added(added("a" * 1025)), "has no byte, or more than 1,024"),
    "a very long token": (with_added(added(" " * (1 << 22), normalized=True)), "has no byte, or more than 1,024"),
    "special once of two times": (
        with_added(added("zz", special=True), added("zz", special=False)),
        "the added token 'zz' stands twice, and is special once",
    ),
    "many tokens": (with_added(*(added(f"{n:1000}") for n in range(1100))), "added tokens have more than 1,048,576"),
    "special by its text": (
        with_added(added("a b", special=True, normalized=True)),
        "is special by its text or by its id",
    ),
    "one text of two tokens": (
        with_added(added("a b", normalized=True), added("a\u2581b", normalized=True)),
        "two added tokens have the same text",
    ),
    "a long piece": (
        with_model(vocab={**document()["model"]["vocab"], "z" * 4097: 1024}),
        "has more than 4,096 bytes",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_table(name):
    changed, why = REFUSED[name]
    with pytest.raises(NoTable) as raised:
        tokenizer_table(as_bytes(changed))
    assert why in raised.value.why and str(raised.value) == raised.value.why
    assert raised.value.why.isascii() and "\n" not in raised.value.why


PATTERNS = [
    "(ab)", "a*b", "a+b|c", "a??", "a*?", "a++", "a{2}{3}", "a{,3}", "a{3,2}", "a{0}", "^a", "a$", "\\d", "\\s+",
    "\\p{L}", "[\\w]", "[[:alpha:]]", "[a&&b]", "[]a]", "[^]", "[a", "[]", "", "a|", "a*", "a?b?", "[z-a]", "\\",
    "(?i)a", "\\b", "[a-z-9]", "[!--]", "[--a]", "\\x4", "\\ud800", "\\x{110000}", "a{65}b", "a{0,64}b", "a?" * 7 + "a",
    "\\é", "a{10000}", "]", "{", "}", "*", "[^\\x00-\\x{10ffff}]", "|".join("ab" * 17), "a" * 65, "[a-\\d]",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_expressions_that_have_no_table(pattern):
    with pytest.raises(NoTable, match="regular expression"):
        tokenizer_table(as_bytes(with_split({"Regex": pattern})))


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b'{"model": 5}', b'{"a": "\\ud800"}', b"[" * 100_000])
def test_what_is_no_tokenizer(data):
    with pytest.raises(NoTable):
        tokenizer_table(data)


ODD = (None, True, 0, -1, 1.5, "x", [], {}, [[]], {"type": "x"})


@pytest.mark.parametrize(
    "field", [None, "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder", "model"]
)
def test_odd_values_are_no_error_of_ours(field):
    """At each place of the file: a table or a reason, and of what the library loads a table that says the same."""
    changed = with_model(vocab={"<unk>": 0, "a": 1, "b": 2, "ab": 3}, merges=[["a", "b"]])
    changed["added_tokens"] = [added("ab")]
    owner = changed if field is None else changed[field]
    places = list(owner) if isinstance(owner, dict) else range(len(owner)) if isinstance(owner, list) else []
    for place in places:
        was = owner[place]
        for value in ODD:
            owner[place] = value
            try:
                tokenizer_table(as_bytes(changed))
            except NoTable as refused:
                assert refused.why
        owner[place] = was
    Tokenizer.from_buffer(as_bytes(changed))


def test_many_merges_of_one_hash():
    """A table whose lookups were slow is not made."""
    letters = [chr(0x4E00 + index) for index in range(300)]
    vocabulary = {letter: index for index, letter in enumerate(letters)}
    pairs = [(one, other) for one in letters for other in letters]
    vocabulary.update({"".join(pair): 300 + index for index, pair in enumerate(pairs)})
    factors = (0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93)
    whole = (1 << 64) - 1

    def bucket(pair):
        mixed = ((vocabulary[pair[0]] << 32 | vocabulary[pair[1]]) * factors[0]) & whole
        return ((mixed ^ mixed >> 32) * factors[1] & whole) >> 57

    chosen = [list(pair) for pair in pairs if bucket(pair) == 5][:100]
    changed = with_model(vocab={**vocabulary, "<unk>": 99_999}, merges=chosen, unk_token="<unk>")
    changed["added_tokens"] = []
    with pytest.raises(NoTable, match="many merges have one hash"):
        tokenizer_table(as_bytes(changed))
