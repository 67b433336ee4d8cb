"""The fuzzers of tokenizer and chat tables: their seeds are whole, and they find nothing in a minute."""

from __future__ import annotations

import struct

import pytest

from tests.native.rt.fuzzing import CORPUS, fuzz, replay
from tests.native.rt.seeds import seeds


def test_seeds_are_small_whole_and_those_that_are_made_now(text_library, rt_built):
    files = {file.name: file.read_bytes() for file in (CORPUS / "tokenizer").iterdir()}
    assert sum(map(len, files.values())) < 20_000
    assert files == seeds()
    for data in files.values():
        (size,) = struct.unpack_from("<I", data)
        tokenizer = text_library.tokenizer(data[4 : 4 + size])
        ids = tokenizer.encode(data[4 + size :])
        assert len(ids) > 10 and tokenizer.decode(ids)
    assert replay(rt_built, "tokenizer") == (len(files), len(files))


def test_seeds_of_chat_tables_are_whole(rt_built):
    """That they are those that are made now: tests/text_tables/test_chat.py."""
    count = len(list((CORPUS / "chat").iterdir()))
    assert replay(rt_built, "chat") == (count, count)


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "slowest"), [("chat", 20), ("tokenizer", 5)])  # 20,000 steps may make long texts
def test_a_minute_of_fuzzing(tmp_path, name, slowest):
    fuzz(tmp_path, name, slowest)
