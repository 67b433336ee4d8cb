"""Words are those of tokenizers' `Split`: its patterns are matched by Oniguruma."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from g4compile.text_tables.no_table import NoTable
from g4compile.text_tables.steps import BEHAVIORS
from g4compile.text_tables.tokenizer import tokenizer_table
from tests.text_tables.documents import as_bytes, with_split

# The names of behaviors as Python's side of tokenizers has them.
NAMES = {"MergedWithPrevious": "merged_with_previous", "MergedWithNext": "merged_with_next"}
ALPHABET = "ab1- \n\u2581é東😀"
TEXTS = ["", "a", "-", "--", "a-b", "-a--b-", "--aa--", "a\n\u2581b 11", "\u2581\u2581\u2581a", "東😀é- -😀", "ab" * 40]
SYNTHETIC = "\u2581?[^\u2581\\n0-9]+|[0-9]|\\n|\u2581+"


def regex(pattern):
    """As tokenizer.json has it."""
    return {"Regex": pattern}


def words_of(pattern, behavior, invert, text):
    """Theirs."""
    made = Regex(pattern["Regex"]) if "Regex" in pattern else pattern["String"]
    split = pre_tokenizers.Split(made, NAMES.get(behavior, behavior.lower()), invert)
    return [text[start:end] for _, (start, end) in split.pre_tokenize_str(text)] if text else []


def compare(library, pattern, texts, behavior="Isolated", invert=False):
    table = tokenizer_table(as_bytes(with_split(pattern, behavior, invert)))
    for text in texts:
        assert library.words(table, text) == words_of(pattern, behavior, invert, text), ascii(text)


def texts_of(source, letters, count, longest=30):
    return ["".join(source.choice(letters) for _ in range(source.randrange(longest))) for _ in range(count)]


PATTERNS = [
    *({"String": text} for text in ("-", " ", "--", "\u2581", "a", "a-")),
    regex("[-a]+"),
    regex(SYNTHETIC),
]


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("behavior", BEHAVIORS)
@pytest.mark.parametrize("pattern", PATTERNS, ids=range(len(PATTERNS)))
def test_behaviors(text_library, pattern, behavior, invert):
    compare(text_library, pattern, [*TEXTS, *texts_of(random.Random(1), ALPHABET, 40)], behavior, invert)


@pytest.mark.parametrize("one", [chr(one) for one in range(33, 127) if not chr(one).isalnum()])
def test_each_sign(text_library, one):
    """As plain text, escaped in an expression, and escaped in a class."""
    text = f"a{one}b\\{one}{one}c"
    compare(text_library, {"String": one}, [text])
    compare(text_library, regex(f"\\{one}"), [text])
    compare(text_library, regex(f"[a\\{one}]+"), [text])


@pytest.mark.parametrize(
    "pattern",
    [
        "a{2}", "a{2,}", "a{1,3}", "a{0,2}b", "a?a?a?ab", "[ab]{1,2}b", "a?b{0,9}a", "b?b+", ".", ".+", "[^a]", "[-a]",
        "[^\\n]+", "[a-b1]", "[a-]", "[\\-a]", "[^-]", "[a^]", "\\u2581", "\\x41|\\x{1F600}", "\\t|\\f|\\v|\\a|\\e|\\r",
        "a|ab", "ab|a", "aab?|a", "1{2,3}|1", "[東😀]+|é", "a[b1]?1*", "[\\n\\t ]+", "[&]a", "[a&]", "[.*+?{}()|$]+",
        "#", "é{2,}", "[\\x00-\\x1f]+", "[\\u0080-\\uffff]", "a-b", "-?1+", "[^\\x00-\\x7f]+", "[!-~]",
        SYNTHETIC,
    ],
)  # fmt: skip
def test_expressions(text_library, pattern):
    source, letters = random.Random(pattern), "ab1-\n é東😀\u2581\tA&#^.*"
    texts = [text for few in (2, 4, 99) for text in texts_of(source, letters[:few], 20)]
    compare(text_library, regex(pattern), [*TEXTS, *texts])


ONE = st.sampled_from(["a", "b", "1", "-", "é", "\\n", "[ab]", "[^a]", "[a-z1]", "[^\\n\u2581]", ".", "\u2581", "😀"])
REPEAT = st.sampled_from(["", "", "?", "*", "+", "{2}", "{1,2}", "{0,3}", "{2,}"])
ALTERNATIVE = st.lists(st.tuples(ONE, REPEAT).map("".join), min_size=1, max_size=4).map("".join)


@settings(max_examples=100, deadline=None)
@given(
    pattern=st.lists(ALTERNATIVE, min_size=1, max_size=3).map("|".join),
    texts=st.lists(st.text(ALPHABET, max_size=20), min_size=5, max_size=5),
    behavior=st.sampled_from(list(BEHAVIORS)),
    invert=st.booleans(),
)
def test_any_expression(text_library, pattern, texts, behavior, invert):
    """It has a table and the same words, or no table."""
    try:
        tokenizer_table(as_bytes(with_split(regex(pattern), behavior, invert)))
    except NoTable:
        return
    compare(text_library, regex(pattern), texts, behavior, invert)


def test_a_long_text_takes_no_more_steps_a_character(text_library):
    """A search that begins anew at each of 400,000 characters, and reads to the end, would take minutes."""
    table = tokenizer_table(as_bytes(with_split(regex("a{0,30}b?b{3,}|ab{2}"))))
    text = "ab" * 100_000 + "a" * 200_000
    assert "".join(text_library.words(table, text)) == text
