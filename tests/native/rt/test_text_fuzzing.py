"""The fuzzer of tokenizer tables: its seeds are whole, and it finds nothing in a minute."""

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


@pytest.mark.nightly
def test_a_minute_of_fuzzing(tmp_path):
    fuzz(tmp_path, "tokenizer")
