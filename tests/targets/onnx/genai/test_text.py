"""onnxruntime-genai runs a package of text as our session runs a bundle: the same greedy tokens."""

import numpy as np
import pytest

from g4compile.compiler import compile
from tests.conftest import VARIANTS
from tests.targets.onnx.genai.answers import LIMIT, assert_answers, random_ids

PROMPT, NEW = random_ids(41, seed=3), 60
# A window of 8 tokens, and 16 slots beside it: sliding caches wrap many times. Pieces below a window, across it, and
# larger than all slots.
CHUNKS = {"whole": 0, "pieces": 5, "long": 31}


@pytest.mark.parametrize("variant", VARIANTS)
def test_tokens_are_those_of_the_session(variant, packages, bundles, driven):
    """The prompt whole and in pieces, and every token behind it computed from caches that it binds."""
    jobs = {name: {"prompt": PROMPT, "new": NEW, "search": {"chunk_size": size}} for name, size in CHUNKS.items()}
    results = driven(packages(variant), **jobs)
    for name in CHUNKS:
        assert_answers(bundles(variant), [PROMPT], results[f"{name}.tokens"][0], results[f"{name}.logits"][0])


def test_the_comparison_is_not_vacuous(packages, bundles, driven):
    results = driven(packages("tiny-e2b"), one={"prompt": PROMPT, "new": 3})
    tokens, logits = results["one.tokens"][0], results["one.logits"][0]
    with pytest.raises(AssertionError):
        assert_answers(bundles("tiny-e2b"), [PROMPT[:-1]], tokens, logits)
    with pytest.raises(AssertionError):
        assert_answers(bundles("tiny-e2b"), [PROMPT], tokens, logits + 2 * LIMIT)


def test_rows_of_unequal_lengths(packages, bundles, driven):
    """Filling behind short rows takes no slot, and has no logits."""
    rows = [random_ids(count, seed=count) for count in (70, 11, 33, 2)]
    results = driven(packages("tiny-e2b"), rows={"prompt": rows, "new": 40, "search": {"chunk_size": 0}})
    for number, row in enumerate(rows):
        assert_answers(bundles("tiny-e2b"), [row], results["rows.tokens"][number], results["rows.logits"][number])


def test_turns_and_rewinds(packages, bundles, driven):
    """More tokens behind an answer; tokens taken back as long as nothing was written over."""
    first, then = random_ids(9), [7, 8, 9, 10]
    results = driven(
        packages("tiny-e2b"),
        turns={"prompt": PROMPT, "new": 5, "then": then},
        back={"prompt": first, "new": 5, "then": then, "rewind": 5, "search": {"chunk_size": 0}},
        far={"prompt": PROMPT, "new": 5, "then": then, "rewind": 5, "search": {"chunk_size": 0}, "refused": True},
    )
    assert_answers(bundles("tiny-e2b"), [PROMPT, then], results["turns.tokens"][0], results["turns.logits"][0])
    assert_answers(bundles("tiny-e2b"), [[*first, *then]], results["back.tokens"][0, 5:], results["back.logits"][0, 5:])
    assert "the sliding-window KV cache holds only" in str(results["far.error"])


def test_beams_and_caches_that_are_not_shared_are_refused(packages, driven):
    """An error, and no other tokens."""
    jobs = {
        "beams": {"prompt": PROMPT, "new": 1, "search": {"num_beams": 2}, "refused": True},
        "apart": {"prompt": PROMPT, "new": 1, "search": {"past_present_share_buffer": False}, "refused": True},
    }
    results = driven(packages("tiny-e2b"), **jobs)
    assert all(str(results[f"{name}.error"]) for name in jobs)


@pytest.mark.parametrize(
    ("variant", "weights"),
    [
        ("tiny-e2b", "int4"),
        pytest.param("tiny-26b-a4b", "int8", marks=pytest.mark.nightly),
        pytest.param("tiny-26b-a4b", "int4", marks=pytest.mark.nightly),
        pytest.param("tiny-e4b", "mobile", marks=pytest.mark.nightly),
    ],
)
def test_weights_of_codes(variant, weights, packages, quantized, driven):
    """With the kernels of ONNX Runtime, as a bundle has them."""
    results = driven(packages(variant, weights=weights), one={"prompt": PROMPT, "new": NEW})
    bundle = quantized(variant, weights)
    assert_answers(bundle, [PROMPT], results["one.tokens"][0], results["one.logits"][0])
    assert np.ptp(results["one.logits"]) > 1


@pytest.mark.nightly
def test_codes_of_a_checkpoint(coded, driven, tmp_path):
    """Kept as they are, their activations rounded as they were calibrated."""
    source = coded("tiny-e2b").folder
    package = compile(source, "onnx-cpu", tmp_path / "package", package="genai", modalities=("text",))
    bundle = compile(source, "onnx-cpu", tmp_path / "bundle", kernels="onnxruntime", modalities=("text",))
    results = driven(package, one={"prompt": PROMPT, "new": NEW})
    assert_answers(bundle, [PROMPT], results["one.tokens"][0], results["one.logits"][0])
