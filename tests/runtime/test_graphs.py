"""The cache of rearranged weights: made once, mapped later, bounded, and never in the way."""

import shutil
import warnings

import numpy as np
import pytest

from g4compile.runtime import graphs
from g4compile.runtime.session import load

PROMPT = [2, 5, 6, 7]


@pytest.fixture
def bundle(quantized):
    return quantized("tiny-e2b", "int4")


def entries(cache):
    return sorted(path.name for path in cache.iterdir())


def test_a_cached_load_gives_the_same_logits_and_makes_nothing_new(bundle, tmp_path, monkeypatch):
    plain = load(bundle.folder, threads=1).forward(PROMPT)
    first = load(bundle.folder, threads=1, cache=tmp_path / "cache").forward(PROMPT)
    made = entries(tmp_path / "cache")
    monkeypatch.setattr(graphs, "_fill", lambda *arguments: pytest.fail("filled again"))
    second = load(bundle.folder, threads=1, cache=tmp_path / "cache").forward(PROMPT)
    np.testing.assert_array_equal(first, plain)
    np.testing.assert_array_equal(second, plain)
    assert len(made) == 1 and entries(tmp_path / "cache") == made


def test_the_cache_holds_the_newest_only_and_leaves_other_files_alone(bundle, quantized, tmp_path):
    cache = tmp_path / "cache"
    load(bundle.folder, cache=cache)
    (cache / "notes.txt").write_text("mine")
    old = entries(cache)
    load(quantized("tiny-e2b", "int8").folder, cache=cache)
    new = entries(cache)
    assert len(new) == 2 and "notes.txt" in new and not set(new) & (set(old) - {"notes.txt"})


def test_another_onnx_runtime_or_processor_makes_its_own(bundle, tmp_path, monkeypatch):
    load(bundle.folder, cache=tmp_path)
    first = entries(tmp_path)
    monkeypatch.setattr(graphs, "_processor", lambda: "flags: another")
    load(bundle.folder, cache=tmp_path)
    assert len(entries(tmp_path)) == 1 and entries(tmp_path) != first


def test_a_deleted_cache_is_made_again(bundle, tmp_path):
    load(bundle.folder, cache=tmp_path / "cache")
    shutil.rmtree(tmp_path / "cache")
    load(bundle.folder, cache=tmp_path / "cache").forward(PROMPT)
    assert len(entries(tmp_path / "cache")) == 1


def test_a_cache_that_cannot_be_written_is_said_once(bundle, tmp_path):
    (tmp_path / "file").write_text("")
    plain = load(bundle.folder, threads=1).forward(PROMPT)
    with pytest.warns(UserWarning, match="cannot be used, loading without it") as caught:
        session = load(bundle.folder, threads=1, cache=tmp_path / "file" / "cache")
    assert len(caught) == 1
    np.testing.assert_array_equal(session.forward(PROMPT), plain)


def test_no_warning_without_a_cache(bundle):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(bundle.folder)


def test_pages_of_tables_are_given_back_and_lookups_stay_right(bundle, tmp_path, monkeypatch):
    """After every so many tokens; what is looked up next is read from the file again."""
    given_back = []
    release = graphs.release_pages
    monkeypatch.setattr(
        "g4compile.runtime.session.release_pages", lambda data: given_back.append(data.name) or release(data)
    )
    prompt = np.random.default_rng(0).integers(0, 1024, (1, 600))
    plain = load(bundle.folder, threads=1, chunk=100).forward(prompt, all_positions=True)
    assert not given_back
    cached = load(bundle.folder, threads=1, chunk=100, cache=tmp_path).forward(prompt, all_positions=True)
    assert given_back == ["weights.data"] * 2
    np.testing.assert_array_equal(cached, plain)


def test_a_damaged_copy_is_said_and_made_again(bundle, tmp_path):
    plain = load(bundle.folder, threads=1, cache=tmp_path).forward(PROMPT)
    (data,) = tmp_path.glob("*/weights.data")
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    with pytest.warns(UserWarning, match="cannot be used, loading without it"):
        np.testing.assert_array_equal(load(bundle.folder, threads=1, cache=tmp_path).forward(PROMPT), plain)
    assert not entries(tmp_path)
    np.testing.assert_array_equal(load(bundle.folder, threads=1, cache=tmp_path).forward(PROMPT), plain)
    assert len(entries(tmp_path)) == 1
