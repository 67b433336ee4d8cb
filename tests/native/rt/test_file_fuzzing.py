"""The fuzzers of manifests and states: their seeds are whole, and they find nothing in a minute."""

from __future__ import annotations

import pytest

from tests.native.rt.file_seeds import manifest_seeds, state_seeds
from tests.native.rt.fuzzing import CORPUS, fuzz, replay


def corpus(name):
    files = {file.name: file.read_bytes() for file in (CORPUS / name).iterdir()}
    assert sum(map(len, files.values())) < 20_000
    return files


def test_seeds_of_states_are_whole_and_those_that_are_made_now(rt_built):
    assert corpus("state") == state_seeds()
    # As they are, mended, and in a session of 4 tokens, where only the empty one has room.
    assert replay(rt_built, "state") == (3, 7)


def test_seeds_of_manifests_are_whole(rt_built):
    assert len(corpus("manifest")) == 3
    assert replay(rt_built, "manifest") == (3, 6)  # as they are, and mended


def test_seeds_of_manifests_are_those_that_are_made_now(hearing, quantized, g4ops):
    bundles = {
        "12b": hearing("tiny-12b"),
        "e2b-hearing": hearing("tiny-e2b"),
        "31b-int8": quantized("tiny-31b", "int4", "g4ops", "int8"),
    }
    assert corpus("manifest") == manifest_seeds({name: bundle.folder for name, bundle in bundles.items()})


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["manifest", "state"])
def test_a_minute_of_fuzzing(tmp_path, name):
    fuzz(tmp_path, name)
