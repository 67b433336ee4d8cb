"""Sequences that join and leave a batch, against a model that is a Python function."""

from __future__ import annotations

import numpy as np
import pytest

from g4compile.errors import BundleError, InputError, MachineError
from g4compile.runtime.sampling import Sampling
from tests.runtime.cuda import fake
from tests.runtime.cuda.fake import CHUNK, CONTEXT, VOCABULARY, greedy, logits_of, opened
from tests.runtime.cuda.test_session import fails_at

PROMPTS = [list(range(2 + start, 2 + start + length)) for start, length in ((0, 19), (4, 1), (9, 8), (20, 11), (3, 30))]


def run(batch, found, steps):
    for _ in range(steps):
        for row, token in batch.step():
            found.setdefault(row, []).append(token)


def test_rows_of_unequal_lengths_are_decoded_together():
    here = opened()
    batch, found = here.session.new_batch(4), {}
    rows = [batch.join(prompt, max_new_tokens=12) for prompt in PROMPTS[:3]]
    assert rows == [0, 1, 2] and batch.active == (0, 1, 2)
    run(batch, found, 12)
    assert [found[row] for row in rows] == [greedy(prompt, 12) for prompt in PROMPTS[:3]]
    assert batch.active == () and batch.step() == []


def test_rows_join_and_leave_between_steps():
    """Each sequence is what it is alone, whoever sits beside it; the lowest row that is free is taken."""
    here = opened()
    batch, found = here.session.new_batch(3), {}
    first = batch.join(PROMPTS[0], max_new_tokens=20)
    run(batch, found, 3)
    second = batch.join(PROMPTS[1], max_new_tokens=2)
    run(batch, found, 1)
    third = batch.join(PROMPTS[2], max_new_tokens=50)
    run(batch, found, 1)
    assert batch.active == (first, third), "the second had two tokens"
    assert found.pop(second) == greedy(PROMPTS[1], 2)
    again = batch.join(PROMPTS[3], max_new_tokens=7)
    assert (first, second, third, again) == (0, 1, 2, 1)
    run(batch, found, 4)
    batch.leave(third)
    assert found[third] == greedy(PROMPTS[2], 5)
    run(batch, found, 11)
    assert found[first] == greedy(PROMPTS[0], 20) and found[again] == greedy(PROMPTS[3], 7)
    assert batch.active == ()


def test_many_random_schedules():
    """Greedy rows and drawn ones, that stop, leave and are complete, in any order."""
    rng, here, rows, done = np.random.default_rng(5), opened(), {}, 0
    batch = here.session.new_batch(6)
    for _ in range(250):
        while len(batch.active) < 6 and rng.random() < 0.3:
            prompt = rng.integers(2, VOCABULARY, int(rng.integers(1, 40))).tolist()
            most, drawn = int(rng.integers(1, 30)), {}
            if rng.random() < 0.2:
                drawn = {"temperature": 3.0, "top_k": 7, "seed": int(rng.integers(100))}
            stops = [greedy(prompt, 4)[-1]] if rng.random() < 0.3 else []
            row = batch.join(prompt, max_new_tokens=most, stop_token_ids=stops, **drawn)
            assert row not in rows
            rows[row] = prompt, most, stops, Sampling(**drawn), []
        if batch.active and rng.random() < 0.1:
            row = int(rng.choice(batch.active))
            batch.leave(row)
            rows.pop(row)
        made = batch.step()
        assert [row for row, _ in made] == sorted(rows)
        for row, token in made:
            prompt, most, stops, sampling, tokens = rows[row]
            told = [*prompt, *tokens]
            assert token == sampling.choose(logits_of(fake.answer(told, len(told) - 1)))
            tokens.append(token)
            assert (row in batch.active) == (len(tokens) < most and token not in stops)
            if row not in batch.active:
                rows.pop(row)
                done += 1
    assert done > 50


def test_a_step_is_on_the_stream_before_its_tokens_are_asked_for():
    """Where all rows are greedy; and none behind the last tokens."""
    here = opened()
    batch = here.session.new_batch(2)
    for prompt in PROMPTS[:2]:
        batch.join(prompt, max_new_tokens=5)
    counts = []
    while batch.active:
        batch.step()
        counts.append(len(here.runtime.replayed))
    assert counts == [0, 2, 3, 4, 4]


def test_steps_run_in_the_smallest_size_that_holds_the_rows():
    here = opened()
    batch = here.session.new_batch(6)
    for prompt in (PROMPTS * 2)[:6]:
        batch.join(prompt, max_new_tokens=40)
        batch.step()
    sizes = [number % 128 for number in here.runtime.replayed]
    assert sizes == [1, 2, 4, 4, 6], "of 6 rows, no size is larger"
    batch.step()
    for row in (5, 4, 3):
        batch.leave(row)
    batch.step()
    assert here.runtime.replayed[-1] % 128 == 4


def test_prompts_are_run_in_the_caches_of_their_row():
    here = opened()
    batch = here.session.new_batch(3)
    for prompt in PROMPTS[:3]:
        batch.join(prompt)
    assert [(count, new, keep) for _, count, new, keep in here.runtime.runs] == [
        (1, CHUNK, 0), (1, CHUNK, 0), (1, 3, 1), (1, 1, 1), (1, 8, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(("choice", "brought"), [(True, [4 * 64, 8 * 64]), (False, [4 * VOCABULARY])])
def test_greedy_rows_stay_on_the_device_and_others_bring_what_draws_need(choice, brought, monkeypatch):
    """The likeliest tokens, or all logits where the bundle cannot find those on the device."""
    here = opened(choice=choice)
    batch, found = here.session.new_batch(4), {}
    options = {"temperature": 3.0, "top_k": 9, "seed": 5}
    for row, prompt in enumerate(PROMPTS[:3]):
        batch.join(prompt, max_new_tokens=15, stop_token_ids=[], **(options if row == 1 else {}))
    run(batch, found, 3)
    fetched, download = [], here.device.download
    monkeypatch.setattr(here.device, "download", lambda array, at: (fetched.append(array.nbytes), download(array, at)))
    run(batch, found, 12)
    assert fetched == [8 * 4, *brought] * 12 and len(here.choice.runs) == 15 * choice
    sampling, tokens = Sampling(**options), list(PROMPTS[1])
    for token in found[1]:
        assert token == sampling.choose(logits_of(fake.answer(tokens, len(tokens) - 1)))
        tokens.append(token)
    assert len(found[1]) == 15 and found[0] == greedy(PROMPTS[0], 15) and found[2] == greedy(PROMPTS[2], 15)


def test_sequences_end_at_stop_tokens_and_the_context():
    here = opened()
    batch, found = here.session.new_batch(2), {}
    stop = greedy(PROMPTS[0], 5)[-1]
    batch.join(PROMPTS[0], stop_token_ids=[stop])
    batch.join([3] * (CONTEXT - 2), stop_token_ids=[])
    run(batch, found, 9)
    assert found[0] == greedy(PROMPTS[0], 5) and len(found[1]) == 3
    batch.join([3] * CONTEXT, stop_token_ids=[])
    assert len(batch.step()) == 1 and batch.active == ()


def test_a_conversation_and_batches_beside_each_other():
    here = opened()
    tokens = here.session.generate(PROMPTS[4], max_new_tokens=10)
    one, other = here.session.new_batch(2), here.session.new_batch(1)
    found, beside, alone = {}, {}, []
    one.join(PROMPTS[0])
    other.join(PROMPTS[3])
    for token in tokens:
        alone.append(token)
        run(one, found, 1)
        run(other, beside, 1)
    assert alone == greedy(PROMPTS[4], 10)
    assert found[0] == greedy(PROMPTS[0], 10) and beside[0] == greedy(PROMPTS[3], 10)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("CUDA error")])
def test_an_error_in_a_step_or_a_prompt_changes_nothing(error):
    here = opened(late=False)
    batch, found = here.session.new_batch(3), {}
    for row, prompt in enumerate(PROMPTS[:2]):
        batch.join(prompt, max_new_tokens=9, stop_token_ids=[], **({"temperature": 3.0, "seed": 4} if row else {}))
    run(batch, found, 3)
    fails_at(here, len(here.runtime.runs) + 1, error)
    with pytest.raises((KeyboardInterrupt, BundleError)):
        batch.step()
    fails_at(here, len(here.runtime.runs) + 2, error)
    with pytest.raises((KeyboardInterrupt, BundleError)):
        batch.join(PROMPTS[4])
    assert batch.active == (0, 1)
    run(batch, found, 6)
    assert found[0] == greedy(PROMPTS[0], 9)
    sampling, tokens = Sampling(temperature=3.0, seed=4), list(PROMPTS[1])
    for token in found[1]:
        assert token == sampling.choose(logits_of(fake.answer(tokens, len(tokens) - 1)))
        tokens.append(token)


def test_what_is_not_possible_is_said():
    here = opened(size=40_000, choice=False)
    batch = here.session.new_batch(2)
    batch.join(PROMPTS[0])
    batch.join(PROMPTS[1])
    for call, message in (
        (lambda: batch.join([2]), "the batch is full: all 2 rows"),
        (lambda: batch.join([2] * (CONTEXT + 1)), "more than this bundle's context of 96"),
        (lambda: batch.join([[2], [3]]), "one sequence, got 2"),
        (lambda: batch.join([2], max_new_tokens=0), "max_new_tokens is 0"),
        (lambda: batch.join([2], temperature=-1), "temperature is -1"),
        (lambda: batch.join([VOCABULARY]), "out of range"),
        (lambda: batch.leave(2), "row is 2"),
        (lambda: here.session.new_batch(65), "rows is 65"),
        (lambda: here.session.new_batch(0), "rows is 0"),
    ):
        with pytest.raises(InputError, match=message):
            call()
    batch.leave(1)
    with pytest.raises(InputError, match="row 1 has no sequence"):
        batch.leave(1)
    held = set(here.device.memory)
    with pytest.raises(MachineError, match="64 sequences"):
        here.session.new_batch(64)
    assert set(here.device.memory) == held


def test_batches_are_closed_alone_and_with_their_session():
    here = opened()
    before = set(here.device.memory)
    one, other = here.session.new_batch(4), here.session.new_batch(2)
    one.join(PROMPTS[0])
    told = here.session.device_memory
    assert told.kv_bytes == one.kv_bytes + other.kv_bytes == 6 * 2 * 2 * (fake.RING + CONTEXT)
    one.close()
    one.close()
    with pytest.raises(InputError, match="this batch is closed"):
        one.step()
    assert other.join(PROMPTS[2]) == 0
    other.close()
    assert set(here.device.memory) == before
    last = here.session.new_batch(1)
    here.session.close()
    with pytest.raises(InputError, match="session is closed"):
        last.step()
    last.close()


def test_drawn_rows_share_one_run_that_finds_their_likeliest_tokens(monkeypatch):
    """Of the rows from the first to the last of them; a row that keeps more tokens brings its logits."""
    here = opened()
    batch, found = here.session.new_batch(5), {}
    options = {1: {"top_k": 9}, 2: {}, 3: {"top_k": 64, "top_p": 0.9}, 4: {"top_k": 65}}
    for row, prompt in enumerate(PROMPTS[:5]):
        drawn = {"temperature": 3.0, "seed": 5, **options[row]} if row in options else {}
        batch.join(prompt, max_new_tokens=15, stop_token_ids=[], **drawn)
    here.choice.runs.clear()
    run(batch, found, 1)
    fetched, download = [], here.device.download
    monkeypatch.setattr(here.device, "download", lambda array, at: (fetched.append(array.nbytes), download(array, at)))
    run(batch, found, 14)
    assert [len(logits) for logits in here.choice.runs] == [3] * 14
    assert fetched == [8 * 5, 3 * 4 * 64, 3 * 8 * 64, 4 * VOCABULARY, 4 * VOCABULARY] * 14
    for row, drawn in options.items():
        sampling, tokens = Sampling(temperature=3.0, seed=5, **drawn), list(PROMPTS[row])
        for token in found[row]:
            assert token == sampling.choose(logits_of(fake.answer(tokens, len(tokens) - 1)))
            tokens.append(token)
    assert found[0] == greedy(PROMPTS[0], 15)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("CUDA error")])
def test_an_error_where_the_likeliest_tokens_are_found_changes_nothing(error):
    here = opened(late=False)
    batch, found = here.session.new_batch(2), {}
    options = {"temperature": 3.0, "top_k": 9, "seed": 4}
    batch.join(PROMPTS[0], max_new_tokens=9, stop_token_ids=[], **options)
    run(batch, found, 3)

    def fail(logits):
        raise error

    here.choice.fail = fail
    with pytest.raises((KeyboardInterrupt, BundleError)):
        batch.step()
    with pytest.raises((KeyboardInterrupt, BundleError)):
        batch.join(PROMPTS[1], **options)
    here.choice.fail = lambda logits: None
    assert batch.active == (0,)
    run(batch, found, 6)
    sampling, tokens = Sampling(**options), list(PROMPTS[0])
    for token in found[0]:
        assert token == sampling.choose(logits_of(fake.answer(tokens, len(tokens) - 1)))
        tokens.append(token)
    assert len(found[0]) == 9
