"""Draws of libg4rt: the tokens that `docs/sampling.md` promises, and those of Python's runtime."""

import numpy as np
import pytest

from g4compile.runtime.sampling import Sampling
from tests.native.rt.g4rt import Refused

# Of the page.
TOKENS = [
    (1.0, 0, 1.0, 0, [754, 805, 700, 945, 106, 70, 911, 105]),
    (1.0, 0, 1.0, 2**64 - 1, [175, 630, 18, 36, 701, 264, 595, 491]),
    (0.7, 40, 0.9, 42, [455, 280, 665, 665, 910, 280, 770, 385]),
    (1.5, 0, 0.5, 0, [543, 525, 490, 630, 123, 70, 368, 70]),
]


@pytest.mark.parametrize(("temperature", "top_k", "top_p", "seed", "tokens"), TOKENS)
def test_the_tokens_of_the_page(rt, temperature, top_k, top_p, seed, tokens):
    logits = np.array([((i * 7919) % 997) / 50 - 10 for i in range(997)], np.float32)
    with rt.sampler(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed) as sampler:
        assert [sampler.choose(logits) for _ in tokens] == tokens


@pytest.mark.parametrize("settings", [{}, {"top_k": 1}, {"top_k": 5}, {"top_p": 0.3}, {"top_k": 300, "top_p": 0.99}])
@pytest.mark.parametrize("temperature", [0.0, 0.00001, 0.4, 1.0, 30.0])
def test_draws_are_those_of_python(rt, temperature, settings):
    """Peaked and flat logits, many equal ones, zeros of both signs, tokens without a chance."""
    random = np.random.default_rng(8)
    ours = Sampling(temperature, seed=17, **settings)
    with rt.sampler(temperature=temperature, seed=17, **settings) as sampler:
        for spread in (0.1, 1.0, 10.0):
            logits = np.round(spread * random.standard_normal(700), 1).astype(np.float32)
            logits[random.integers(0, 700, 60)] = -np.inf
            logits[random.integers(0, 700, 20)] = -0.0
            assert [sampler.choose(logits) for _ in range(20)] == [ours.choose(logits) for _ in range(20)]


def test_without_a_seed_draws_differ(rt):
    logits = np.zeros(5000, np.float32)
    draws = []
    for _ in range(2):
        with rt.sampler(temperature=1.0) as sampler:
            draws.append([sampler.choose(logits) for _ in range(10)])
    assert draws[0] != draws[1]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_no_numbers(rt, value, temperature):
    logits = np.full(10, value if value == -np.inf else 0.0, np.float32)
    logits[7] = value
    with rt.sampler(temperature=temperature, seed=1) as sampler:
        with pytest.raises(Refused, match="not finite") as refused:
            sampler.choose(logits)
        assert refused.value.status == "bad-bundle"
        with pytest.raises(Refused):
            sampler.choose(logits[:0])
