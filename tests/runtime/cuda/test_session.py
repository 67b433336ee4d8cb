"""The CUDA session against a device of host memory and a model that is a Python function."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from g4compile.cli.render.sizes import device_rows
from g4compile.errors import BundleError, InputError, MachineError
from g4compile.runtime.device import DeviceMemory
from g4compile.runtime.measure import _measured
from g4compile.runtime.sampling import Sampling
from tests.runtime.cuda import fake
from tests.runtime.cuda.fake import CHUNK, CONTEXT, REWIND, VOCABULARY, greedy, logits_of, opened

PROMPT = [5, 9, 33, 2, 17, 40, 8, 60, 3, 3, 21, 50, 11, 4, 29, 31, 7, 2, 19]  # two chunks and three tokens


@pytest.mark.parametrize("length", [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, len(PROMPT)])
def test_forward_gives_the_logits_of_the_last_position(length):
    here = opened()
    prompt = (PROMPT * 2)[:length]
    expected = greedy(prompt, 30)
    found = here.session.forward(prompt)
    for at, token in enumerate(expected):
        np.testing.assert_array_equal(found, [logits_of(token)])
        assert here.session.length == length + at
        found = here.session.forward([token])


def test_only_the_last_chunk_asks_for_logits():
    here = opened()
    here.session.forward(PROMPT)
    assert here.runtime.runs == [(-1, 1, CHUNK, 0), (-1, 1, CHUNK, 0), (-1, 1, 3, 1)]


@pytest.mark.parametrize("batch", [1, 3])
def test_all_positions_in_pieces_whose_logits_stay_small(batch, monkeypatch):
    monkeypatch.setattr("g4compile.runtime.cuda.rows._MOST_LOGITS", 4 * VOCABULARY * 5 * batch)
    here = opened()
    ids = np.array([PROMPT[row:] + PROMPT[:row] for row in range(batch)])
    found = here.session.forward(ids, all_positions=True)
    for row, at in np.ndindex(found.shape[:2]):
        np.testing.assert_array_equal(found[row, at], logits_of(fake.answer(ids[row], at)))
    assert [(new, keep) for _, _, new, keep in here.runtime.runs] == [(5, 5), (5, 5), (5, 5), (4, 4)]
    assert here.session.forward(ids[:, :1], all_positions=True).shape == (batch, 1, VOCABULARY)


def test_steps_are_captured_once_for_each_number_of_sequences():
    here = opened()
    for batch in (1, 3, 1, 2):
        here.session.reset()
        tokens = np.arange(3, 3 + batch)[:, None]
        for _ in range(4):
            tokens = here.session.forward(tokens).argmax(-1)[:, None]
    warm = [number for number, *_ in here.runtime.runs][: len(here.runtime.runs) - len(here.runtime.replayed)]
    assert set(here.runtime.replayed) == {1, 128 + 3, 128 + 1, 128 + 2}, "three sequences have memory of their own"
    assert len(here.runtime.replayed) == 16 and len(warm) == 2 * 4
    captured = here.runtime.threads.captured
    assert {number % 128: bound["input_ids"][1] for number, bound in captured.items()} == {
        count: (count, 1) for count in (1, 2, 3)
    }


def test_a_capture_changes_nothing():
    """It runs the graph, over rows that are not in use."""
    here = opened()
    here.session.forward(PROMPT)
    assert np.array_equal(here.session.forward([4]), [logits_of(fake.answer([*PROMPT, 4], len(PROMPT)))])
    assert [number for number, *_ in here.runtime.runs[3:]] == [1, 1, 1] and here.runtime.replayed == [1]


def test_threads_take_turns():
    """ONNX Runtime captures per thread."""
    here = opened()
    expected = greedy(PROMPT, 12)
    found = [int(here.session.forward(PROMPT).argmax())]

    def go():
        for _ in range(3):
            found.append(int(here.session.forward([found[-1]]).argmax()))

    for _ in range(3):
        thread = threading.Thread(target=go)
        thread.start()
        thread.join()
    assert found == expected[:10]


def test_greedy_tokens_stay_on_the_device(monkeypatch):
    here = opened()
    sent, fetched = [], []
    upload, download = here.device.upload, here.device.download
    monkeypatch.setattr(here.device, "upload", lambda at, array: (sent.append(array.nbytes), upload(at, array)))
    monkeypatch.setattr(here.device, "download", lambda array, at: (fetched.append(array.nbytes), download(array, at)))
    tokens = here.session.generate(PROMPT, max_new_tokens=20)
    found = [next(tokens), next(tokens)]
    sent.clear()
    fetched.clear()
    found += list(tokens)
    assert found == greedy(PROMPT, 20)
    assert sent == [8] * 17, "positions alone, of which one went ahead"
    assert fetched == [8] * 18, "tokens alone"


def test_a_step_is_on_the_stream_before_its_token_is_asked_for():
    """And none that nobody asks for, behind the last token."""
    here = opened()
    tokens = here.session.generate(PROMPT, max_new_tokens=4, stop_token_ids=[])
    for given in range(4):
        next(tokens)
        assert len(here.runtime.replayed) == min(given + 1, 3)
    assert list(tokens) == [] and len(here.runtime.replayed) == 3


def test_what_runs_ahead_changes_nothing():
    """Answers that are broken off, other calls between two tokens, rewinds, threads: always the tokens of the state."""
    rng, here, tokens = np.random.default_rng(8), opened(), []

    def act():
        nonlocal tokens
        kind = rng.choice(["generate", "generate", "forward", "rewind", "reset", "draw"])
        prompt = rng.integers(2, VOCABULARY, int(rng.integers(1, 12))).tolist()
        if kind == "reset" or len(tokens) > CONTEXT - 40:
            here.session.reset()
            tokens = []
        if kind == "rewind" and tokens:
            count = int(rng.integers(0, min(REWIND, len(tokens)) + 1))
            here.session.rewind(count)
            tokens = tokens[: len(tokens) - count]
        elif kind == "forward":
            tokens += prompt
            found = here.session.forward(prompt)
            np.testing.assert_array_equal(found, [logits_of(fake.answer(tokens, len(tokens) - 1))])
        elif kind in ("generate", "draw"):
            drawn = {"temperature": 2.0, "top_k": 3, "seed": 1} if kind == "draw" else {}
            answer = here.session.generate(prompt, max_new_tokens=12, stop_token_ids=[], **drawn)
            tokens += prompt
            for _ in range(int(rng.integers(0, 13))):
                token = next(answer)
                if not drawn:
                    assert token == fake.answer(tokens, len(tokens) - 1)
                tokens.append(token)
            # The last token of an answer has no keys and values; one that was not asked for leaves the prompt away.
            tokens = tokens[: here.session.length]
        assert here.session.length == len(tokens)

    for _ in range(120):
        if rng.random() < 0.3:
            with ThreadPoolExecutor(1) as thread:
                thread.submit(act).result()
        else:
            act()


@pytest.mark.parametrize("choice", [True, False])
@pytest.mark.parametrize(
    "options", [{"top_k": 0, "seed": 3}, {"top_k": 5, "seed": 9}, {"top_k": 64, "top_p": 0.7, "seed": 1}]
)
def test_drawn_tokens_are_those_of_the_logits(options, choice):
    """Where the likeliest tokens are enough they are found on the device, and no logits are brought."""
    here, options = opened(choice=choice), {"temperature": 4.0, **options}
    found = list(here.session.generate(PROMPT, max_new_tokens=12, stop_token_ids=[], **options))
    sampling, tokens = Sampling(**options), list(PROMPT)
    for token in found:
        assert token == sampling.choose(logits_of(fake.answer(tokens, len(tokens) - 1)))
        tokens.append(token)
    assert len(set(found)) > 3 and len(here.choice.runs) == 12 * (choice and options["top_k"] > 0)


@pytest.mark.parametrize("wrong", [np.nan, -np.nan, np.inf])
@pytest.mark.parametrize("choice", [True, False])
def test_a_draw_from_what_is_not_finite_is_refused(wrong, choice):
    here = opened(choice=choice)
    here.runtime.shift = np.where(np.arange(VOCABULARY) == 7, np.float32(wrong), 0)
    with pytest.raises(BundleError, match="as its greatest logit"):
        next(here.session.generate(PROMPT, temperature=1.0, top_k=5))


def test_generate_stops():
    here = opened()
    stop = greedy(PROMPT, 8)[-1]
    assert list(here.session.generate(PROMPT, stop_token_ids=[stop])) == greedy(PROMPT, 8)
    here.session.reset()
    assert len(list(here.session.generate([3] * (CONTEXT - 4), max_new_tokens=50, stop_token_ids=[]))) == 5
    assert here.session.length == CONTEXT
    with pytest.raises(InputError, match="context"):
        here.session.forward([1])


def test_rewind():
    here = opened()
    here.session.forward(PROMPT)
    first = here.session.forward([5])
    here.session.forward([6, 7])
    here.session.rewind(3)
    np.testing.assert_array_equal(here.session.forward([5]), first)
    with pytest.raises(InputError, match="rings of sliding layers"):
        here.session.rewind(REWIND + 1)


def test_several_turns_and_lengths_of_prompts():
    here, rng, tokens = opened(), np.random.default_rng(3), []
    while len(tokens) < CONTEXT - 20:
        turn = rng.integers(0, VOCABULARY, int(rng.integers(1, 20))).tolist()
        tokens += turn
        np.testing.assert_array_equal(here.session.forward(turn), [logits_of(fake.answer(tokens, len(tokens) - 1))])


def test_the_first_token_shows_what_is_not_finite():
    here = opened()
    here.runtime.shift = np.inf
    with pytest.raises(BundleError, match="inf as its greatest logit"):
        next(here.session.generate(PROMPT))


def fails_at(here, run, error):
    def fail(number):
        if number == run:
            raise error

    here.runtime.fail = fail


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("CUDA error: unspecified launch failure")])
@pytest.mark.parametrize(("kept", "new"), [(0, 19), (19, 12), (19, 19), (19, 1)])
def test_an_error_changes_nothing(kept, new, error):
    """Where rings still hold what the earlier state sees."""
    here = opened(late=False)
    if kept:
        here.session.forward(PROMPT)
    runs = 2 if new > 2 * CHUNK else 1  # the last fails, when it has written
    fails_at(here, len(here.runtime.runs) + runs, error)
    with pytest.raises((KeyboardInterrupt, BundleError)):
        here.session.forward([8] * new, all_positions=True)
    damaged = kept and min(new, runs * CHUNK) > fake.RING - fake.WINDOW
    assert (here.session.length, here.session.batch) == (kept, 1 if kept else None)
    if damaged:
        with pytest.raises(InputError, match="damaged the state"):
            here.session.forward([5])
        here.session.reset()
        kept = 0
    before = PROMPT if kept else []
    np.testing.assert_array_equal(
        here.session.forward([7, 9]), [logits_of(fake.answer([*before, 7, 9], len(before) + 1))]
    )


def test_lack_of_memory():
    """Of the caches, and of what ONNX Runtime gives out itself; the session goes on with fewer sequences."""
    here = opened(size=40_000, late=False, choice=False)
    with pytest.raises(MachineError, match="64 sequences of 96 tokens") as raised:
        here.session.forward([[3]] * 64)
    assert "are free" in raised.value.why and here.session.kv_bytes == 0 and here.session.length == 0
    assert here.session.forward([3, 4]).shape == (1, VOCABULARY)
    fails_at(here, len(here.runtime.runs) + 1, RuntimeError("BFCArena::AllocateRawInternal Failed to allocate memory"))
    with pytest.raises(MachineError, match="not enough memory to run 1 sequences of 3 tokens"):
        here.session.forward([1, 2, 3])
    here.runtime.fail = lambda number: None
    np.testing.assert_array_equal(here.session.forward([5]), [logits_of(fake.answer([3, 4, 5], 2))])


@pytest.mark.parametrize(
    ("ids", "message"),
    [([], "empty"), ([[1]] * 65, "64 sequences at most"), ([VOCABULARY], "out of range"), ([3] * 97, "context")],
)
def test_bad_ids(ids, message):
    with pytest.raises(InputError, match=message):
        opened().session.forward(ids)


def test_memory_is_told_and_given_back():
    here = opened()
    assert here.session.device_memory.kv_bytes == here.session.kv_bytes == 0
    here.session.forward(PROMPT)
    told = here.session.device_memory
    assert told.kv_bytes == here.session.kv_bytes == 2 * 2 * (fake.RING + CONTEXT)
    assert told.weight_bytes == 1000 and told.free_bytes == here.device.free_memory()
    assert told.kv_bytes + told.buffer_bytes == here.device.size - told.free_bytes, "all that it has allocated"
    with here.session as session:
        session.forward([1])
    assert not here.device.memory and here.device.stream == 0
    here.session.close()
    for call in (here.session.reset, lambda: here.session.forward([1]), lambda: here.session.device_memory):
        with pytest.raises(InputError, match="closed"):
            call()
    assert (here.session.length, here.session.kv_bytes) == (0, 0)


def test_sessions_beside_each_other():
    one, other = opened(), opened()
    for prompt in (PROMPT, [7, 7]):
        assert list(one.session.generate(prompt, max_new_tokens=4)) == list(
            other.session.generate(prompt, max_new_tokens=4)
        )
    one.session.close()
    other.session.forward([3])


def test_what_nobody_closes_is_given_back():
    here = opened()
    batch = here.session.new_batch(2)
    batch.join(PROMPT)
    held = weakref.ref(here.session)
    del batch, here
    gc.collect()
    assert held() is None


def test_bench_measures_it():
    here = opened()
    found = _measured(here.session, 1.5, None, (20, 6, 2), seed=0)
    assert (found.threads, found.load_s, found.kv_bytes) == (None, 1.5, here.session.kv_bytes)
    assert found.device == here.session.device_memory and found.decode_tokens_per_second > 0
    assert len(here.runtime.replayed) == 3 * 6, "steps alone, without one for the first token"
    (shown,) = device_rows(DeviceMemory(5_000_000_000, 100_000_000, 2_000_000, 40_000, 7)).values()
    assert shown == "5.1 GB: 5.0 GB weights, 100.0 MB KV, 2.0 MB inputs and logits, 40.0 kB other; 7 B free"
