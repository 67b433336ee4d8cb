"""Choosing tokens: greedy, temperature, top-k, top-p, seeds."""

import numpy as np
import pytest

from g4compile.errors import InputError
from g4compile.runtime.sampling import Sampling

LOGITS = np.log(np.array([0.05, 0.5, 0.15, 0.3], np.float32))


def counts(draws=4000, **options):
    sampling = Sampling(seed=1, **options)
    return np.bincount([sampling.choose(LOGITS) for _ in range(draws)], minlength=4) / draws


def test_zero_temperature_is_greedy():
    assert counts(50, temperature=0.0).tolist() == [0, 1, 0, 0]


def test_temperature_one_draws_from_the_distribution():
    np.testing.assert_allclose(counts(temperature=1.0), np.exp(LOGITS), atol=0.03)


def test_low_temperature_sharpens():
    want = np.exp(LOGITS) ** 2
    np.testing.assert_allclose(counts(temperature=0.5), want / want.sum(), atol=0.03)


def test_top_k_keeps_the_k_likeliest_and_renormalises():
    np.testing.assert_allclose(counts(temperature=1.0, top_k=2), [0, 5 / 8, 0, 3 / 8], atol=0.03)


@pytest.mark.parametrize(("top_p", "kept"), [(0.4, [1]), (0.6, [1, 3]), (0.9, [1, 2, 3]), (1.0, [0, 1, 2, 3])])
def test_top_p_keeps_the_smallest_set_that_reaches_p(top_p, kept):
    assert np.flatnonzero(counts(temperature=1.0, top_p=top_p)).tolist() == kept


def test_a_seed_repeats_the_draws():
    first, second = (Sampling(1.0, seed=3) for _ in range(2))
    assert [first.choose(LOGITS) for _ in range(30)] == [second.choose(LOGITS) for _ in range(30)]
    assert [first.choose(LOGITS) for _ in range(30)] != [Sampling(1.0, seed=4).choose(LOGITS) for _ in range(30)]


@pytest.mark.parametrize(
    "options", [{}, {"temperature": 0.7, "top_k": 3}, {"temperature": 1.0, "top_k": 5, "top_p": 0.8}]
)
def test_the_likeliest_tokens_decide_as_all_do(options):
    """In whatever order they come; ties among them are the vocabulary's first."""
    random = np.random.default_rng(0)
    all_of_them, few = (Sampling(seed=5, **options) for _ in range(2))
    assert few.enough(8)
    for _ in range(50):
        logits = random.integers(0, 6, 40).astype(np.float32)
        likeliest = random.permutation(np.argsort(-logits, kind="stable")[:8])
        assert few.choose_among(logits[likeliest], likeliest) == all_of_them.choose(logits)


@pytest.mark.parametrize(
    ("options", "enough"), [({}, True), ({"top_k": 9}, False), ({"top_k": 0}, False), ({"top_k": 8}, True)]
)
def test_when_the_likeliest_are_enough(options, enough):
    assert Sampling(temperature=1.0 if options else 0.0, **options).enough(8) == enough


@pytest.mark.parametrize("options", [{"temperature": -1.0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.5}])
def test_impossible_settings_are_refused(options):
    with pytest.raises(InputError, match="cannot sample"):
        Sampling(**options)
