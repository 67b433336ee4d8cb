"""The chosen experts of each token, against NumPy: to the bit with int8 activations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from g4compile.ops import moe_experts
from tests.native import reference
from tests.native.layers import expected_experts, experts, geglu, stacked
from tests.native.library import Failed, pointer

quick = settings(
    derandomize=True, deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Block:
    """Experts of random weights [2 I, H] and [H, I]."""

    def __init__(self, random, count, hidden=64, width=48, bits=4, block=32, zeros=False):
        self.count, self.hidden = count, hidden
        self.gate_up = [reference.random_matrix(random, 2 * width, hidden, bits, block, zeros) for _ in range(count)]
        self.down = [reference.random_matrix(random, hidden, width, bits, block, zeros) for _ in range(count)]
        self.stored = stacked(self.gate_up), stacked(self.down)

    def run(self, library, kernels, x, choices, **more):
        return experts(library, kernels, x, choices, *self.stored, count=self.count, **more)

    def check(self, library, kernels, x, choices):
        """int8 to the bit, and the exact path to 1e-5 of the float64 reference."""
        found = self.run(library, kernels, x, choices)
        np.testing.assert_array_equal(found, expected_experts(x, choices, self.gate_up, self.down))
        exact = self.run(library, kernels, x, choices, exact=True)
        wide = [
            np.stack([one.dequantized() for one in matrices]).astype(np.float64)
            for matrices in (self.gate_up, self.down)
        ]
        index, weight = choices
        expected = moe_experts.reference(x.astype(np.float64), index, weight.astype(np.float64), *wide)
        assert np.abs(exact - expected).max() <= 1e-5 * max(np.abs(expected).max(), 1e-30)
        return found


def choose(random, tokens, each, count):
    """Different experts for each token, where there are as many."""
    index = np.stack([random.choice(count, each, replace=each > count) for _ in range(tokens)]).astype(np.int64)
    return index, random.random((tokens, each), np.float32)


def rows(random, tokens, hidden):
    return random.standard_normal((tokens, hidden)).astype(np.float32)


@quick
@given(
    st.sampled_from([(bits, block, zeros) for bits in (2, 4, 8) for block in (0, 32, 128) for zeros in (False, True)]),
    st.sampled_from((1, 2, 5, 16)),  # experts
    st.integers(1, 8),
    st.integers(1, 40),  # tokens
    st.integers(1, 100),  # H
    st.integers(1, 70),  # I
    st.integers(0, 1 << 32),
)
def test_every_size(library, kernels, layout, count, each, tokens, hidden, width, seed):
    random = np.random.default_rng(seed)
    bits, block, zeros = layout
    made = Block(random, count, hidden, width, bits, block, zeros)
    made.check(library, kernels, rows(random, tokens, hidden), choose(random, tokens, each, count))


@pytest.mark.parametrize("count", (128, 256))
@pytest.mark.parametrize("tokens", (1, 2, 9, 130))
def test_many_experts(library, kernels, count, tokens):
    random = np.random.default_rng(count + tokens)
    block = Block(random, count, hidden=32, width=16)
    block.check(library, kernels, rows(random, tokens, 32), choose(random, tokens, 8, count))


def test_all_tokens_to_one_expert(library, kernels):
    random = np.random.default_rng(4)
    block = Block(random, 6)
    index = np.full((300, 1), 3, np.int64)
    block.check(library, kernels, rows(random, 300, 64), (index, random.random((300, 1), np.float32)))


def test_more_tokens_than_one_pass_takes(library, kernels):
    random = np.random.default_rng(4)
    block = Block(random, 5, hidden=32, width=8)
    block.check(library, kernels, rows(random, 1100, 32), choose(random, 1100, 2, 5))


def test_the_same_expert_twice(library, kernels):
    random = np.random.default_rng(4)
    block = Block(random, 3)
    index = np.array([[1, 1, 2], [0, 2, 0]])
    block.check(library, kernels, rows(random, 2, 64), (index, random.random((2, 3), np.float32)))


def test_experts_that_are_not_chosen_are_not_read(library, kernels):
    """Their scales are no numbers here, and their codes are not there: the pointers of the others lie around them."""
    random = np.random.default_rng(7)
    block = Block(random, 4)
    x, (index, weight) = rows(random, 20, 64), choose(random, 20, 2, 2)
    index = index * 2 + 1  # experts 1 and 3
    expected = block.run(library, kernels, x, (index, weight))
    for weights in block.stored:
        codes, scales, _ = weights.arrays
        codes[[0, 2]] = 255
        scales[[0, 2]] = 0x7FC0
    np.testing.assert_array_equal(block.run(library, kernels, x, (index, weight)), expected)


@pytest.mark.parametrize("exact", (False, True))
@pytest.mark.parametrize("tokens", (1, 3, 70))
def test_threads_change_no_bit(library, kernels, exact, tokens):
    random = np.random.default_rng(tokens)
    block = Block(random, 8, hidden=256, width=160)
    given = rows(random, tokens, 256), choose(random, tokens, 4, 8)
    expected = block.run(library, kernels, *given, exact=exact)
    for threads in (1, 2, 3, 7):
        pool = library.c.g4ops_pool_create(threads)
        np.testing.assert_array_equal(block.run(library, kernels, *given, exact=exact, pool=pool), expected)
        library.c.g4ops_pool_destroy(pool)


def test_the_activation_is_that_of_the_model():
    gate = np.concatenate([np.linspace(-12, 12, 5001), [-1e4, 1e4, 0, -3e38, 3e38]]).astype(np.float32)
    with np.errstate(over="ignore"):
        found = geglu(gate, np.ones_like(gate))
    expected = (
        0.5 * gate.astype(np.float64) * (1 + np.tanh(np.sqrt(2 / np.pi) * (gate + 0.044715 * gate.astype(float) ** 3)))
    )
    assert (np.abs(found - expected) <= 2e-7 * np.abs(gate)).all()


def test_numbers_that_are_none_stay_none(library, kernels):
    random = np.random.default_rng(7)
    block = Block(random, 4)
    x = rows(random, 3, 64)
    x[1, 5] = np.nan
    for exact in (False, True):
        found = block.run(library, kernels, x, choose(random, 3, 2, 4), exact=exact)
        assert np.isnan(found[1]).all()
        assert np.isfinite(found[[0, 2]]).all()


def test_wrong_sizes_are_refused(library):
    random = np.random.default_rng(1)
    kernels, block = library.kernels(), Block(random, 4)
    x, choices = rows(random, 2, 64), choose(random, 2, 2, 4)

    def refused(words, **changes):
        given = {"gate_up": block.stored[0], "down": block.stored[1], "count": 4, "choices": choices, **changes}
        with pytest.raises(Failed, match=words):
            experts(library, kernels, x, given.pop("choices"), given.pop("gate_up"), given.pop("down"), **given)

    refused("there are 0 experts", count=0)
    refused(r"gate and up: codes has \d+ bytes, not \d+", count=5)
    refused(r"gate and up are \[64, 48\] and down is \[64, 48\], not", gate_up=block.stored[1])
    for index in (-1, 4, 1 << 40):
        refused(f"index holds {index} at place 1, not in 0..3", choices=(np.array([[0, index]]), choices[1]))
    short = Block(random, 4).stored[1]
    short.scales_bytes -= 2
    refused("down: scales has", down=short)
    short.scales, short.scales_bytes = pointer(short.arrays[1]), 0
    refused("down: scales has 0 bytes", down=short)
