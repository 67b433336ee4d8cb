"""Which step runs which tokens, and that padding harms nothing: neither what a token sees, nor what a rewind leaves."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from g4compile.errors import InputError
from g4compile.runtime.engine_steps import Planner, singles
from g4compile.runtime.in_place import InPlace


def steps_of(chunk):
    """What engines of that chunk have: `targets/tensorrt/steps.py`."""
    sizes = {"decode": 1, "verify": 8, **({"prefill-short": 128} if chunk > 256 else {}), "prefill": chunk}
    return [
        SimpleNamespace(name=name, tokens=tokens, keep="one" if "prefill" in name else "all")
        for name, tokens in sizes.items()
    ]


def planner(chunk=16, ring=32, context=256):
    return Planner(steps_of(chunk), ring, context)


def runs(plan, length, new, all_positions=False):
    return [(one.step.name, one.start, one.stop) for one in plan.pieces(length, singles(new), all_positions)]


def test_few_runs_and_no_more_padding_than_that():
    assert runs(planner(), 0, 36) == [("prefill", 0, 16), ("prefill", 16, 32), ("verify", 32, 36)]
    assert runs(planner(), 0, 9) == [("prefill", 0, 9)]
    assert runs(planner(), 5, 1, all_positions=True) == [("decode", 0, 1)]
    assert {name for name, _, _ in runs(planner(), 0, 50, all_positions=True)} == {"verify"}


def test_a_long_chunk_is_not_run_for_a_few_tokens():
    plan = planner(1024, 2048, 8192)
    assert runs(plan, 0, 100) == [("prefill-short", 0, 100)]
    assert runs(plan, 0, 300) == [("prefill-short", 0, 128), ("prefill-short", 128, 256), ("prefill-short", 256, 300)]
    assert runs(plan, 0, 600) == [("prefill", 0, 600)]
    assert runs(plan, 0, 1100) == [("prefill", 0, 1024), ("prefill-short", 1024, 1100)]


def test_the_first_run_is_filled_up_where_the_last_cannot_be():
    """Up to the end of a ring, or of the context: 20 tokens to go are not two chunks of 16, so the first has 4."""
    assert runs(planner(), 12, 30) == [("prefill", 0, 4), ("prefill", 4, 20), ("prefill", 20, 30)]
    assert runs(planner(ring=1024, context=32), 12, 20) == [("prefill", 0, 4), ("prefill", 4, 20)]
    assert runs(planner(), 28, 20) == [*(("decode", one, one + 1) for one in range(4)), ("prefill", 4, 20)]
    assert runs(planner(), 250, 6) == [("decode", one, one + 1) for one in range(6)]


class Ring:
    """Of each slot, the position whose key it holds, or -1 where that is padding's."""

    def __init__(self, slots):
        self.held = np.full(slots, -1)

    def write(self, start, real, tokens):
        first = start % len(self.held)
        assert first + tokens <= len(self.held), "a step wraps"
        positions = np.arange(start, start + tokens)
        self.held[first : first + tokens] = np.where(positions < start + real, positions, -1)

    def seen(self, queries, last, window):
        """Of each of ``queries`` (in order) and each slot: the position that the mask of a step takes the slot for, and
        whether it lets the query see it, when ``last`` is the step's last position: the masks of
        `targets/lowering/fixed_caches.py` take each slot for the newest position up to it."""
        positions = last - (last - np.arange(len(self.held))) % len(self.held)
        behind = queries[:, None] - positions
        return positions, (behind >= 0) & (behind < window) & (positions >= 0)


@pytest.mark.parametrize(("window", "chunk"), [(1, 16), (8, 16), (17, 16), (24, 16), (40, 32), (5, 512), (600, 512)])
def test_a_token_sees_its_window_whatever_padding_was_written(window, chunk):
    """Conversations of prompts, tokens and rewinds, at random: each real token sees the keys of the real tokens of its
    window, all of them, and nothing else. Rewinds are as far as the state lets them."""
    random = np.random.default_rng(window)
    ring = -(-(window - 1 + chunk) // chunk) * chunk
    spare, context = ring - window + 1, 4096
    plan = Planner(steps_of(chunk), ring, context)
    for _ in range(20):
        held, state, reach = Ring(ring), InPlace(spare, ring), 0
        for _ in range(30):
            room = context - state.length
            new = min(room, int(random.choice([1, 1, 3, 8, 9, chunk - 1, chunk, 2 * chunk + 5])))
            for piece in plan.pieces(state.length, singles(new), bool(random.integers(4) == 0)):
                real, tokens = piece.stop - piece.start, piece.step.tokens
                assert 0 < real <= tokens and state.length + tokens <= context
                held.write(state.length, real, tokens)
                reach = max(reach, state.length + tokens)
                state.writes(state.length + tokens)
                queries = np.arange(state.length, state.length + real)
                positions, seen = held.seen(queries, state.length + tokens - 1, window)
                assert (seen.sum(1) == np.minimum(queries + 1, window)).all()  # positions of slots are all different
                assert (positions == held.held)[seen.any(0)].all()
                state.length += real
            back = int(random.integers(0, 2 * chunk))
            if back <= state.length and random.integers(2):
                try:
                    state.rewind(back)
                except InputError:
                    assert reach > ring and reach - (state.length - back) > spare


def test_what_a_rewind_may_take_back():
    """A step may be taken back whole, padding or not, and from there nothing more than rings hold."""
    state = InPlace(16, 32)
    state.writes(16), setattr(state, "length", 9)
    state.rewind(9)  # the ring was never written round
    for start, real in ((0, 16), (16, 16), (32, 3)):
        state.writes(start + 16)
        state.length = start + real
    state.rewind(3)
    with pytest.raises(InputError, match="hold 0 more than their window"):
        state.rewind(1)
    state.rewind(0)


@pytest.mark.parametrize("chunk", [16, 512])
def test_no_run_ends_inside_an_image(chunk):
    plan = Planner(steps_of(chunk), 1024, 1000)
    ends = singles(40)
    ends[5:15], ends[15:18] = 14, 17
    pieces = list(plan.pieces(3, ends, False))
    assert [one.start for one in pieces[1:]] + [40] == [one.stop for one in pieces]
    for one in pieces:
        assert ends[one.stop - 1] == one.stop - 1 and one.stop - one.start <= one.step.tokens


def test_an_image_comes_before_filling_up():
    """Two steps of 16 do not fit in 30 places, and the first could be filled up behind 4 tokens: inside an image."""
    ends = singles(20)
    ends[0:12] = 11
    pieces = list(planner(ring=1024, context=30).pieces(0, ends, False))
    assert [(one.step.tokens, one.start, one.stop) for one in pieces] == [(16, 0, 16), (8, 16, 20)]


def test_images_that_no_step_takes():
    plan, ends = planner(ring=256), singles(40)
    ends[5:25] = 24
    with pytest.raises(InputError, match="an image of 20 tokens is more than the 16") as refused:
        list(plan.pieces(0, ends, False))
    assert "--chunk 32" in str(refused.value)
    ends[5:25] = [*singles(25)[5:13], *[24] * 12]
    with pytest.raises(InputError, match=r"more than the 8 .* the logits of all positions"):
        list(plan.pieces(0, ends, True))
    with pytest.raises(InputError, match="too near to the context's end, which is 15 tokens away") as refused:
        list(plan.pieces(241, np.full(12, 11), False))
    assert len(list(plan.pieces(236, np.array([0, 1, 2, 3, 4, *[16] * 12]), False))) == 2  # text fills the step up
    assert "larger --context" in str(refused.value)
