"""A session's state: a call changes it wholly or not at all; one call at a time; memory is there before it is used."""

import subprocess
import sys
import threading
import weakref

import numpy as np
import onnxruntime as ort
import pytest

from g4compile.errors import BundleError, InputError, MachineError
from g4compile.runtime import failures, kv_cache
from g4compile.runtime.kv_cache import KVCache
from g4compile.runtime.session import Session


@pytest.fixture
def session(bundles):
    return Session(bundles("tiny-e2b"), threads=1, chunk=2)


def state(session):
    cache = session._cache
    if cache is None:
        return None
    arrays = {name: value.numpy()[:, :, : cache.length].copy() for name, value in cache._values.items()}
    return session.length, session.batch, session.kv_bytes, cache.capacity, arrays


def assert_same(before, after):
    assert (before is None) == (after is None)
    if before is not None:
        assert before[:4] == after[:4]
        for name, array in before[4].items():
            np.testing.assert_array_equal(array, after[4][name])


def fails_at(session, monkeypatch, chunk, error):
    """The run number ``chunk`` of the decoder raises ``error``, after it has written what it writes."""
    run, calls = session._run, []

    def failing(*given):
        calls.append(given)
        found = run(*given)
        if len(calls) == chunk:
            raise error
        return found

    monkeypatch.setattr(session, "_run", failing)


ERRORS = [
    KeyboardInterrupt(),
    MemoryError(),
    RuntimeError("Failed to allocate memory for requested buffer"),
    OSError(5),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("kept", [0, 3])
def test_an_error_in_the_middle_of_a_prompt_changes_nothing(session, monkeypatch, kept, error):
    if kept:
        session.forward([2, 5, 6][:kept])
    before = state(session)
    with monkeypatch.context() as patch:
        fails_at(session, patch, 3, error)
        expected = {KeyboardInterrupt: KeyboardInterrupt, OSError: BundleError}.get(type(error), MachineError)
        with pytest.raises(expected):
            session.forward([7, 8, 9, 10, 11, 12, 13])
    assert_same(before, state(session))
    assert session.batch is (1 if kept else None)
    fresh = Session(session.bundle, threads=1, chunk=2)
    if kept:
        fresh.forward([2, 5, 6][:kept])
    np.testing.assert_array_equal(session.forward([7, 8, 9]), fresh.forward([7, 8, 9]))


def test_a_refused_first_call_does_not_fix_the_batch(session, monkeypatch):
    with monkeypatch.context() as patch:
        fails_at(session, patch, 1, MemoryError())
        with pytest.raises(MachineError):
            session.forward([[2], [3]])
    assert session.batch is None
    session.forward([2])


def test_growth_that_fails_changes_nothing(session, monkeypatch):
    """The second layer's buffer is not given: the first one's is not taken over."""
    monkeypatch.setattr(kv_cache, "BLOCK", 4)
    session.forward([2, 5, 6])
    before, make, calls = state(session), KVCache._empty, []

    def lacking(self, layer, part, tokens):
        calls.append(layer)
        if len(calls) == 2:
            raise MemoryError("Unable to allocate")
        return make(self, layer, part, tokens)

    with monkeypatch.context() as patch:
        patch.setattr(KVCache, "_empty", lacking)
        with pytest.raises(MachineError, match=r"keys and values of 1 sequences of 8 tokens need [\d,]+ bytes"):
            session.forward([7, 8])
    assert_same(before, state(session))
    session.forward([7, 8])
    assert session.length == 5


def test_more_memory_than_there_is_is_refused_before_anything_runs(bundles, monkeypatch):
    """10^12 sequences: their ids would be 8 TB, so only the cache is asked."""
    manifest = bundles("tiny-e2b").manifest
    cache = KVCache(manifest.kv, 1, manifest.context)
    cache.batch = 10**12
    for room in (cache.check_room, cache.reserve):
        with pytest.raises(MachineError, match=r"1,000,000,000,000 sequences of 256 tokens need [\d,]{15,} bytes"):
            room(1)
    cache.batch = 10**17  # more bytes than there are addresses
    with pytest.raises(MachineError, match="need"):
        cache.check_room(1)


LIMITED = """
import resource, sys
import numpy as np
from g4compile.errors import MachineError
from g4compile.runtime.session import load
session = load(sys.argv[1], threads=1)
session.forward([2, 5])
session.reset()
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
for spare, batch in ((64 << 20, 200_000), (128 << 20, 200_000), (64 << 20, 4_000), (200 << 20, 900)):
    resource.setrlimit(resource.RLIMIT_AS, (used + spare, resource.RLIM_INFINITY))
    try:
        session.forward(np.full((batch, 40), 7))
        print("ran", batch)
    except MachineError as error:
        print("refused", batch, error.what)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert session.batch is None and session.length == 0
session.forward([2, 5])
print("goes on")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="macOS does not hold this limit")
def test_a_process_without_memory(bundles):
    given = [sys.executable, "-c", LIMITED, str(bundles("tiny-e2b").folder)]
    done = subprocess.run(given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "goes on"
    assert "200000 there is not enough memory for this call" in lines[0]  # for the ids
    assert "200000 keys and values of 200,000 sequences of 256 tokens need" in lines[1]
    assert len(lines) == 5 and all(line.startswith("refused") for line in lines[:4]), lines


def test_an_allocation_that_onnx_runtime_lacks_is_known(bundles):
    """Its words, of the version that is installed."""
    file = bundles("tiny-e2b").folder / "decoder.onnx"
    with pytest.raises(MachineError, match="not enough memory"), failures.run_errors("x", file):
        ort.OrtValue.ortvalue_from_shape_and_type([1 << 46], np.float32)


def test_a_graph_that_cannot_be_run_is_the_bundles_error(session):
    session._embedded = session._embedded[::-1]
    with pytest.raises(BundleError, match="cannot run the bundle's graph"):
        session.forward([2, 5])
    assert session.batch is None


def test_an_error_in_generate_leaves_the_last_whole_token(session, monkeypatch):
    tokens = session.generate([2, 5, 6], max_new_tokens=9, stop_token_ids=[])
    first = [next(tokens), next(tokens)]
    before = state(session)
    assert before[0] == 4
    with monkeypatch.context() as patch:
        fails_at(session, patch, 1, MemoryError())
        with pytest.raises(MachineError):
            next(tokens)
    assert_same(before, state(session))
    after = next(session.generate(first[-1:], stop_token_ids=[]))
    session.reset()
    assert list(session.generate([2, 5, 6], max_new_tokens=3, stop_token_ids=[])) == [*first, after]


def test_a_choice_that_fails_takes_no_token(session, monkeypatch):
    session.forward([2, 5])
    before, run = state(session), session._run
    monkeypatch.setattr(session, "_run", lambda *given: run(*given) * np.nan)
    with pytest.raises(BundleError, match="greatest logit"):
        next(session.generate([6]))
    assert_same(before, state(session))


def test_a_rewind_that_fails_changes_nothing(session, monkeypatch):
    session.forward([2, 5, 6, 7, 8])
    before, store, calls = state(session), KVCache._set, []

    def failing(*given):
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        store(*given)

    with monkeypatch.context() as patch:
        patch.setattr(KVCache, "_set", failing)
        with pytest.raises(KeyboardInterrupt):
            session.rewind(2)
    assert_same(before, state(session))


def test_two_threads_at_once_are_an_error_and_taking_turns_is_none(session, monkeypatch):
    """One thread is held inside a run until the others were refused."""
    inside, go_on, run = threading.Event(), threading.Event(), session._run
    found = []

    def held(*given):
        inside.set()
        assert go_on.wait(60)
        return run(*given)

    tokens = session.generate([2, 5], stop_token_ids=[])
    with monkeypatch.context() as patch:
        patch.setattr(session, "_run", held)
        thread = threading.Thread(target=lambda: found.append(session.forward([2, 5])))
        thread.start()
        assert inside.wait(60)
        for call in (
            lambda: session.forward([2]), lambda: session.rewind(1), session.reset, lambda: next(tokens),
        ):  # fmt: skip
            with pytest.raises(InputError, match="in use by another thread"):
                call()
        go_on.set()
        thread.join()
    assert session.length == 2 and found[0].shape == (1, 1024)
    turns = [threading.Thread(target=session.forward, args=([7],)) for _ in range(6)]
    for turn in turns:
        turn.start()
        turn.join()
    assert session.length == 8


def test_many_threads_never_mix_their_tokens(session):
    """Each call is done or refused; the state has the tokens of those that were done."""
    done, refused, barrier = [], [], threading.Barrier(6)

    def work():
        barrier.wait()
        for _ in range(20):
            try:
                session.forward([7, 8])
                done.append(1)
            except InputError as error:
                assert "another thread" in error.what
                refused.append(1)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) + len(refused) == 120 and done and refused
    assert session.length == 2 * len(done)


def test_a_closed_session_has_given_everything_back(session):
    """And says so to whoever asks; closing twice is nothing."""
    with session as opened:
        opened.forward([2, 5])
        tokens = opened.generate([6], max_new_tokens=5)
        next(tokens)
        graph = weakref.ref(opened._decoder)
    session.close()
    assert graph() is None and (session.length, session.batch, session.kv_bytes) == (0, None, 0)
    assert session.device_memory is None
    calls = (
        session.reset,
        session.end_profiling,
        lambda: session.rewind(0),
        lambda: session.forward([2]),
        lambda: next(tokens),
        lambda: next(session.generate([2])),
    )
    for call in calls:
        with pytest.raises(InputError, match="this session is closed"):
            call()


def test_a_session_in_use_is_not_closed(session, monkeypatch):
    def closes(*given):
        session.close()

    monkeypatch.setattr(session, "_run", closes)
    with pytest.raises(InputError, match="in use"):
        session.forward([2])
