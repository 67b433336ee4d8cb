"""Text and JSON that nobody vouches for."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from g4compile.errors import BundleError
from g4compile.inputs.documents import decode_json, decode_text
from g4compile.inputs.files import Kind

KIND = Kind("the manifest", 1 << 20, BundleError)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_any_json_is_what_it_was(value):
    assert decode_json(json.dumps(value).encode(), KIND, "x") == value


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"{", "Expecting"),
        (b"", "Expecting"),
        (b"[" * 100_000, "nested deeper"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "nested deeper"),
        (b'{"a": 1, "b": 2, "a": 3}', "'a' stands twice"),
        (b"9" * 5000, "5,000 digits"),
        (b'{"a": NaN}', "NaN is no number"),
        (b"[-Infinity]", "-Infinity is no number"),
        (b'{"a": 1e999}', "1e999' is beyond"),
        (b"[-1.5e400]", "-1.5e400' is beyond"),
        (b'["\\ud800"]', "half of a pair"),
        (b'{"a\\uDFFFb": 1}', "half of a pair"),
    ],
)
def test_what_is_refused(data, why):
    with pytest.raises(BundleError, match=why) as caught:
        decode_json(data, KIND, "g4.json")
    assert caught.value.where == "g4.json"


def test_a_pair_of_surrogates_is_one_character():
    assert decode_json(b'["\\ud83d\\ude00"]', KIND, "x") == ["\U0001f600"]


def test_a_name_that_stands_twice_among_many_is_found_at_once():
    names = [b'"%d": 1' % number for number in range(100_000)]
    started = time.monotonic()
    with pytest.raises(BundleError, match="'7' stands twice"):
        decode_json(b"{" + b", ".join([*names, b'"7": 2']) + b"}", KIND, "x")
    assert time.monotonic() - started < 5


def test_brackets_in_strings_are_no_nesting():
    value = {"chat_template": "[" * 1000 + '\\"{'}
    assert decode_json(json.dumps(value).encode(), KIND, "x") == value


def test_text_that_is_no_utf8():
    with pytest.raises(BundleError, match="not UTF-8") as caught:
        decode_text(b"ab\xff", KIND, "x")
    assert "byte 2" in caught.value.why
