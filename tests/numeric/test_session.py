"""The runtime session over compiled bundles, against HF eager float32."""

import numpy as np
import pytest

from g4compile.runtime.session import Session
from tests.conftest import VARIANTS
from tests.scenario import assert_equal, run_scenario


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("batch", [1, 3])
def test_session_equals_hf(variant, batch, bundles, expected):
    session = Session(bundles(variant), threads=1)
    run_scenario(expected(variant, batch), lambda ids: session.forward(ids, all_positions=True), session.reset)


@pytest.mark.parametrize("variant", VARIANTS)
def test_last_position_is_what_all_positions_ends_with(variant, bundles, expected):
    """The shared tail computes one position; it must be the last of all."""
    session = Session(bundles(variant), threads=1)
    want = expected(variant, 3)
    assert_equal(want.prefill[:, -1], session.forward(want.prompt), "last position")
    assert_equal(want.decode[:, 0], session.forward(want.tokens[:, :1]), "first step")


def test_long_prompts_are_run_in_chunks(bundles, expected):
    want = expected("tiny-e2b", 1)
    session = Session(bundles("tiny-e2b"), threads=1, chunk=5)
    assert_equal(want.prefill, session.forward(want.prompt, all_positions=True), "automatic chunks")
    assert session.length == want.prompt.shape[1]


def test_greedy_generation_takes_the_reference_tokens(bundles, expected):
    want = expected("tiny-31b", 1)
    session = Session(bundles("tiny-31b"), threads=1)
    assert list(session.generate(want.prompt, max_new_tokens=20, stop_token_ids=[])) == want.tokens[0, :20].tolist()


def test_the_comparison_fails_on_a_perturbed_output(expected):
    want = expected("tiny-e2b", 1).prefill
    for change in (want + 3e-4, np.where(want == want.max(-1, keepdims=True), want - 10, want), want * np.nan):
        with pytest.raises(AssertionError):
            assert_equal(want, change, "perturbed")
