"""The fuzzer of tokenizer tables: its seeds are whole, and it finds nothing in a minute."""

from __future__ import annotations

import shutil
import struct

import pytest

from tests.native.building import NATIVE, build, need_compiler, output
from tests.native.rt.seeds import seeds

CORPUS = NATIVE / "fuzz" / "corpus" / "tokenizer"


def test_seeds_are_small_whole_and_those_that_are_made_now(text_library):
    files = {file.name: file.read_bytes() for file in CORPUS.iterdir()}
    assert sum(map(len, files.values())) < 20_000
    assert files == seeds()
    for data in files.values():
        (size,) = struct.unpack_from("<I", data)
        tokenizer = text_library.tokenizer(data[4 : 4 + size])
        ids = tokenizer.encode(data[4 + size :])
        assert len(ids) > 10 and tokenizer.decode(ids)


@pytest.mark.nightly
def test_a_minute_of_fuzzing(tmp_path):
    need_compiler()
    compiler = shutil.which("clang++") or shutil.which("clang++-16")
    if not compiler:
        pytest.skip("no clang, whose libFuzzer is used")
    build(tmp_path, "fuzz_tokenizer", G4RT_FUZZ="ON", CMAKE_CXX_COMPILER=compiler)
    found = tmp_path / "corpus"
    shutil.copytree(CORPUS, found)
    limits = ("-max_total_time=60", "-timeout=5", "-rss_limit_mb=1024", "-max_len=8192")
    output(str(tmp_path / "fuzz_tokenizer"), *limits, f"-artifact_prefix={tmp_path}/", str(found))
