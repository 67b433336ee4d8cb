"""Sliding layers that are written round and round: what was overwritten is never seen, and an error costs nothing."""

import numpy as np
import pytest

from g4compile.compare.parity import Meter, limits_of
from g4compile.compare.verify import verify
from g4compile.errors import InputError
from g4compile.runtime.session import CHUNK, Session

PROMPT = 900  # tokens; the ring of the tiny presets has 535 slots


@pytest.fixture(params=["float32", "bfloat16"])
def bundle(g4ops, quantized, request):
    """Products of float32 operands, so that cuts of a prompt change nothing but the order of sums."""
    return quantized("tiny-e2b", "exact", "g4ops", request.param)


def assert_close(bundle, found, wanted):
    """But for the order of sums, which also decides between two numbers of bfloat16."""
    if bundle.manifest.kv.dtype == "float32":
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)
    meter = Meter()
    meter.add(wanted, found)
    assert not meter.result().broken(limits_of(bundle.manifest)), meter.result()


@pytest.fixture
def ids():
    return np.random.default_rng(5).integers(3, 1000, (1, PROMPT))


def test_a_ring_has_room_for_a_chunk_beside_what_is_kept(bundle):
    layers = bundle.manifest.kv.layers
    assert {layer.slots for layer in layers if layer.keep} == {8 - 1 + 16 + CHUNK}
    assert {layer.slots for layer in layers if layer.keep is None} == {None}
    assert {"ring-kv", "g4ops"} <= set(bundle.manifest.requires)


def test_rings_that_wrapped_give_what_the_model_gives(bundle, checkpoints):
    report = verify(bundle, checkpoints("tiny-e2b").folder, prompt_tokens=PROMPT, new_tokens=4)
    assert not report.broken, report


@pytest.mark.parametrize("chunk", [1 << 20, 37])
def test_a_prompt_is_cut_where_rings_need_it(bundle, ids, chunk):
    whole = Session(bundle, threads=1).forward(ids, all_positions=True)
    cut = Session(bundle, threads=1, chunk=chunk).forward(ids, all_positions=True)
    assert_close(bundle, cut, whole)


def test_a_ring_takes_back_what_windows_take_back(bundle, ids):
    session = Session(bundle, threads=1)
    session.forward(ids)
    after = [session.forward(ids[:, step : step + 1]) for step in range(16)]
    session.rewind(16)
    for step, want in enumerate(after):
        np.testing.assert_array_equal(session.forward(ids[:, step : step + 1]), want)
    session.rewind(10)
    with pytest.raises(InputError, match="rewind at most 16"):
        session.rewind(7)
    session.rewind(6)
    np.testing.assert_array_equal(session.forward(ids[:, :1]), after[0])


@pytest.mark.parametrize("tokens", [8, 2 * CHUNK + 28])
def test_an_error_behind_a_run_leaves_rings_as_they_were(bundle, ids, tokens, monkeypatch):
    """A short call writes behind what is seen, a long one into rings of its own."""
    session, runs, before = Session(bundle, threads=1), [], 400
    session.forward(ids[:, :before])
    want = session.forward(ids[:, :4], all_positions=True)
    session.rewind(4)
    run = session._run

    def failing(cache, fed, shape, all_positions):
        run(cache, fed, shape, all_positions)
        runs.append(shape[1])
        if sum(runs) == tokens:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(session, "_run", failing)
        session.forward(ids[:, :tokens])
    assert session.length == before and len(runs) == -(-tokens // CHUNK)
    np.testing.assert_array_equal(session.forward(ids[:, :4], all_positions=True), want)


def test_a_batch_has_rings_of_its_own(bundle, ids):
    both = np.concatenate([ids, ids[:, ::-1]])
    session = Session(bundle, threads=1)
    got = session.forward(both, all_positions=True)
    for row, one in enumerate(both):
        alone = Session(bundle, threads=1).forward(one[None], all_positions=True)
        assert_close(bundle, got[row], alone[0])
