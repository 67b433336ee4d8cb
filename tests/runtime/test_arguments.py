"""Arguments of sessions: each is checked, and the error names it."""

import os
from pathlib import Path

import numpy as np
import pytest

from g4compile.errors import InputError
from g4compile.runtime.session import Session, load

CYCLE: list = []
CYCLE.append(CYCLE)


@pytest.fixture(scope="module")
def session(bundles):
    return Session(bundles("tiny-e2b"), threads=1)


@pytest.mark.parametrize(
    "ids",
    [
        [[1, 2], [3]], [1.0], np.array([1.5]), [True, False], [1, True], [[1], [True]], None, [None], "12", ["1"],
        b"12", 5, {1, 2}, {1: 2}, iter([1]), object(), [object()], 1j, [2**70], [2**63], [-(2**70)],
        np.array([1], "f2"),
        np.array(["1"]), np.array([1], "M8[s]"), np.array([1], object), np.array([2**64 - 1], np.uint64), CYCLE,
        np.zeros((1, 1, 1), int), np.array(3), [[[1]]], np.ma.masked_all(2), np.array([(1, 2)], "i4,i4"),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_is_no_ids_is_refused(session, ids):
    with pytest.raises(InputError, match=r"input_ids is|token id|the prompt is empty"):
        session.forward(ids)
    assert session.length == 0 and session.batch is None


@pytest.mark.parametrize(
    "ids", [[2, 5], (2, 5), np.array([2, 5], np.uint8), np.array([[2, 5]], ">i4"), [np.int16(2), 5], range(2, 6, 3)]
)
def test_integers_of_any_kind_are_ids(session, ids):
    session.reset()
    want = session.forward([[2, 5]])
    session.reset()
    np.testing.assert_array_equal(session.forward(ids), want)
    session.reset()


OF_GENERATE = {
    "max_new_tokens": [-1, 1.5, True, None, "3", 2**31, np.float64(3)],
    "stop_token_ids": [5, "12", b"12", [1.5], [True], [-1], [1024], [None], [[1]], iter([1])],
    "temperature": [float("nan"), -1, float("inf"), 1e-320, "1"],
    "top_k": [1.5, True, -1],
    "top_p": [float("nan"), 0, 1.1],
    "seed": [-1, 1.5, 2**64],
    "input_ids": [[[1], [2]], [], "a"],
}


@pytest.mark.parametrize("name", OF_GENERATE)
def test_arguments_of_generate_are_checked_by_the_call(session, name):
    """Not by the first step, which may come later and elsewhere. The state is not touched."""
    for value in OF_GENERATE[name]:
        with pytest.raises(InputError, match=rf"{name}|generate takes one sequence|the prompt is empty"):
            session.generate(**{"input_ids": [2, 5], name: value})
    assert session.length == 0


def test_stop_tokens_of_any_collection(session):
    for stops in ({7, 8}, (7,), np.array([7]), [np.int32(7)], frozenset(), []):
        session.reset()
        assert len(list(session.generate([2], max_new_tokens=2, stop_token_ids=stops))) in (1, 2)
    session.reset()
    assert list(session.generate([2], max_new_tokens=0)) == []


@pytest.mark.parametrize("tokens", [1.5, True, None, "1", 2**40, np.float32(1)])
def test_rewinds_that_are_no_count(session, tokens):
    with pytest.raises(InputError, match="tokens is"):
        session.rewind(tokens)


def test_positions_are_asked_for_with_a_bool(session):
    with pytest.raises(InputError, match="all_positions is 1"):
        session.forward([2], all_positions=1)


OF_LOAD = {
    "path": [5, None, b"bundle", "", "a\0b", True, ["a"], object()],
    "threads": ["a", -1, 100_000, 1.5, True, None, 4 * (os.cpu_count() or 1) + 1],
    "chunk": [0, -1, 1.5, True, "1", None, 2**40],
    "cache": [5, b"cache", "", True, ["a"], "a\0b", "a\udcff"],
    "profile": [5, b"p", "", True],
    "checkpoint": [5, b"c", "", True],
}


@pytest.mark.parametrize("name", OF_LOAD)
def test_arguments_of_load(bundles, name):
    for value in OF_LOAD[name]:
        with pytest.raises(InputError, match=rf"(?s)^{name} is .*{name} is (a path|an integer from)"):
            load(**{"path": bundles("tiny-e2b").folder, name: value})


def test_paths_as_text_and_chunks_of_any_size(bundles):
    folder = bundles("tiny-e2b").folder
    want = load(str(folder), threads=1).forward([2, 5, 6])
    np.testing.assert_allclose(load(Path(folder), threads=1, chunk=2).forward([2, 5, 6]), want, atol=1e-4)
    np.testing.assert_array_equal(load(folder, threads=1, chunk=1 << 20).forward([2, 5, 6]), want)


def test_what_engines_have_no_use_for(engine_bundle, checkpoints, tmp_path):
    with pytest.raises(InputError, match="an engine bundle has no use for profile"):
        load(engine_bundle.folder, checkpoint=checkpoints("tiny-e2b").folder, profile=tmp_path / "profile")
