"""Text in and out: round trips, streaming whole characters, the chat template."""

import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from g4compile.bundle.folder import Bundle
from g4compile.errors import BundleError
from g4compile.runtime.text import TextCodec

TEXT = "Zürich — 東京, 12 °C: 😀 done"


@pytest.fixture
def codec(bundles):
    return TextCodec(bundles("tiny-e2b"))


@pytest.fixture
def copy(bundles, tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(bundles("tiny-e2b").folder, folder)
    return Bundle.open(folder)


def test_text_survives_a_round_trip(codec):
    ids = codec.encode(TEXT)
    assert ids[0] == 2 and ids.count(2) == 1
    assert codec.decode(ids) == TEXT


def test_streaming_never_splits_a_character(codec):
    pieces = list(codec.stream(codec.encode(TEXT)))
    assert "".join(pieces) == TEXT
    assert len(pieces) > 10
    assert not any("\ufffd" in piece for piece in pieces)


def test_a_character_cut_by_the_end_is_shown_not_dropped(codec):
    ids = codec.encode("a😀")
    assert codec.decode(ids[:-1]) == "a" + "\ufffd" * 3


def test_bytes_that_make_no_character_are_streamed(codec):
    """The second is the first byte of two, and a letter follows; alone, `i` would have been shown."""
    ids = [343, 460, 649]
    assert codec.decode(ids).startswith("\ufffd" * 2)
    assert "".join(codec.stream(ids)) == codec.decode(ids)


BYTES = st.integers(238, 238 + 255)  # the tokens <0x00> to <0xFF>
LETTERS = st.text(max_size=6)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(
        st.one_of(BYTES, BYTES, st.integers(0, 1023), st.integers(0, 105), st.sampled_from([1024, 5000]), LETTERS),
        max_size=40,
    )
)
def test_streamed_pieces_joined_are_the_whole_text(codec, pieces):
    """Of any tokens: of bytes, of valid text, special ones, and ids that no token has."""
    ids = []
    for piece in pieces:
        ids += codec.encode(piece)[1:] if isinstance(piece, str) else [piece]
    streamed = list(codec.stream(iter(ids)))
    assert "".join(streamed) == codec.decode(ids)
    assert all(streamed)


def test_a_piece_comes_with_its_token_and_costs_no_more_later(codec, monkeypatch):
    """A token is decoded once or as part of its run, however long the answer is."""
    ids = codec.encode(TEXT * 20)[1:]
    decoded = []
    decode = codec.decode
    monkeypatch.setattr(codec, "decode", lambda ids: decoded.append(len(ids)) or decode(ids))
    assert "".join(codec.stream(ids)) == TEXT * 20
    assert sum(decoded) == len(ids)
    asked = []
    stream = codec.stream(asked.append(token) or token for token in codec.encode("plain words")[1:])
    next(stream)
    assert len(asked) == 1


def test_chat_template(codec):
    ids = codec.encode_chat([{"role": "user", "content": "Hi"}])
    assert ids.count(2) == 1
    assert ids[:2] == [2, 105]  # <bos>, then the start of a turn
    assert 106 in ids


def test_a_template_that_cannot_be_rendered(copy):
    (copy.folder / "chat_template.jinja").write_text("{{ raise_exception('no system turn') }}")
    with pytest.raises(BundleError, match=r"cannot be rendered[\s\S]*no system turn"):
        TextCodec(copy).encode_chat([{"role": "user", "content": "Hi"}])


def test_a_template_cannot_reach_python(copy):
    (copy.folder / "chat_template.jinja").write_text("{{ ''.__class__.__mro__[1].__subclasses__() }}")
    with pytest.raises(BundleError, match="cannot be rendered"):
        TextCodec(copy).encode_chat([{"role": "user", "content": "Hi"}])


def test_a_template_in_the_tokenizer_config(copy, codec):
    template = copy.folder / "chat_template.jinja"
    settings = json.loads((copy.folder / "tokenizer_config.json").read_text())
    settings["chat_template"] = template.read_text()
    (copy.folder / "tokenizer_config.json").write_text(json.dumps(settings))
    template.unlink()
    message = [{"role": "user", "content": "Hi"}]
    assert TextCodec(copy).encode_chat(message) == codec.encode_chat(message)


def test_no_tokenizer(copy):
    (copy.folder / "tokenizer.json").unlink()
    with pytest.raises(BundleError, match="no tokenizer"):
        TextCodec(copy)
