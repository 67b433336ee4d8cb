"""A session's state: rewind, reset, limits, buffers written in place, stops."""

import shutil

import numpy as np
import pytest

from g4compile.bundle.folder import sha256
from g4compile.errors import BundleError, InputError
from g4compile.runtime.session import Session, load
from tests.manifests import change
from tests.scenario import assert_equal


@pytest.fixture
def session(bundles):
    return Session(bundles("tiny-e2b"), threads=1)


def test_rewind_gives_the_logits_of_the_shorter_prompt(session, expected):
    want = expected("tiny-e2b", 1)
    session.forward(want.prompt)
    for step in range(10):
        session.forward(want.tokens[:, step : step + 1])
    session.rewind(10)
    assert session.length == want.prompt.shape[1]
    for step in range(10):
        got = session.forward(want.tokens[:, step : step + 1])
        assert_equal(want.decode[:, step], got, f"step {step} after a rewind")


def test_rewind_right_after_a_prompt(session, expected):
    want = expected("tiny-e2b", 3)
    session.forward(want.prompt)
    session.rewind(16)
    again = session.forward(want.prompt[:, -16:], all_positions=True)
    assert_equal(want.prefill[:, -16:], again, "the last 16 again")


def test_rewind_past_the_windowed_caches_is_an_error_and_changes_nothing(session, expected):
    want = expected("tiny-e2b", 1)
    session.forward(want.prompt)
    with pytest.raises(InputError, match="rewind at most 16"):
        session.rewind(17)
    assert_equal(want.decode[:, 0], session.forward(want.tokens[:, :1]), "after the refusal")


def test_a_short_state_can_be_rewound_to_nothing(session, expected):
    want = expected("tiny-e2b", 1)
    session.forward(want.prompt[:, :5])
    session.rewind(5)
    assert session.length == 0
    assert_equal(want.prefill, session.forward(want.prompt, all_positions=True), "from the start")


@pytest.mark.parametrize("tokens", [-1, 6])
def test_impossible_rewinds(session, tokens):
    session.forward([2, 5, 6, 7, 8])
    with pytest.raises(InputError, match=f"cannot rewind {tokens} tokens of 5"):
        session.rewind(tokens)


def test_full_layers_are_written_in_place(session):
    session.forward([2, 5, 6])
    layer = next(layer.layer for layer in session.bundle.manifest.kv.layers if layer.keep is None)
    value = session._cache._values[f"{layer}.key"]
    pointer, before = value.data_ptr(), value.numpy().copy()
    for token in range(20):
        session.forward([token])
    after = session._cache._values[f"{layer}.key"]
    assert after.data_ptr() == pointer
    np.testing.assert_array_equal(after.numpy()[:, :, :3], before[:, :, :3])
    assert np.abs(after.numpy()[:, :, 3:23]).sum(axis=(1, 3)).min() > 0
    assert not after.numpy()[:, :, 23:].any()


def test_windowed_layers_hold_the_window_and_no_more(session, expected):
    session.forward(expected("tiny-e2b", 1).prompt)
    for layer in session.bundle.manifest.kv.layers:
        if layer.keep is not None:
            assert session._cache._values[f"{layer.layer}.key"].shape()[2] == layer.window - 1 + 16


def test_another_batch_size_needs_a_reset(session):
    session.forward([[2, 5], [2, 6]])
    with pytest.raises(InputError, match="holds 2 sequences, got 1"):
        session.forward([7])
    session.reset()
    assert session.length == 0
    session.forward([7])


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ([], "prompt is empty"),
        ([[]], "prompt is empty"),
        ([1.5], "must be integers"),
        ([[[1]]], "must be integers of shape"),
        ([-1], "token id -1 is out of range"),
        ([1024], "token id 1024 is out of range"),
    ],
)
def test_bad_ids(session, ids, text):
    with pytest.raises(InputError, match=text):
        session.forward(ids)
    assert session.length == 0


def test_generation_stops_at_a_stop_token_and_at_the_context(session):
    tokens = list(session.generate([2, 5, 6], max_new_tokens=40, stop_token_ids=[]))
    assert len(tokens) == 40
    session.reset()
    assert (
        list(session.generate([2, 5, 6], max_new_tokens=40, stop_token_ids=[tokens[4]]))
        == tokens[: tokens.index(tokens[4]) + 1]
    )
    session.reset()
    context = session.bundle.manifest.context
    session.forward(np.full((1, context - 4), 7))
    assert len(list(session.generate([9], max_new_tokens=40, stop_token_ids=[]))) == 4
    assert session.length == context


def test_sampling_with_a_seed_repeats(session):
    def draw(seed):
        session.reset()
        options = {"temperature": 1.0, "top_k": 50, "top_p": 0.95, "stop_token_ids": []}
        return list(session.generate([2, 5, 6], max_new_tokens=20, seed=seed, **options))

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_a_moved_bundle_runs(bundles, tmp_path, session):
    moved = shutil.copytree(bundles("tiny-e2b").folder, tmp_path / "somewhere else" / "b")
    np.testing.assert_array_equal(load(moved, threads=1).forward([2, 5, 6]), session.forward([2, 5, 6]))


def test_a_graph_that_onnx_runtime_refuses(bundles, tmp_path):
    folder = shutil.copytree(bundles("tiny-e2b").folder, tmp_path / "bundle")
    graph = folder / "decoder.onnx"
    graph.write_bytes(b"\0" * graph.stat().st_size)
    change(folder, files=lambda files: {**files, graph.name: {**files[graph.name], "sha256": sha256(graph)}})
    with pytest.raises(BundleError, match="cannot load the bundle's graph"):
        load(folder)
