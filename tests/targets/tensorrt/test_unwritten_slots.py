"""What stands in slots of a cache that no token was written to changes no bit of the logits; and no mask is so far from
0 that a kernel could make an infinity of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from g4compile.targets.lowering.fixed_caches import MASKED
from g4compile.targets.tensorrt import attention
from g4compile.targets.tensorrt.attention_forms import FOLDED, FORMS, FUSED, SELECT
from g4compile.targets.tensorrt.edition import FULL
from g4compile.targets.tensorrt.steps import Capacities
from tests.conftest import VARIANTS
from tests.targets.tensorrt.nightly import with_nightly

CASES = [
    ("tiny-e2b", FUSED, "bfloat16", 3),
    ("tiny-e2b", SELECT, "int4", 1),
    ("tiny-e4b", FOLDED, "bfloat16", 1),
    ("tiny-12b", FUSED, "int4", 1),
    ("tiny-12b", SELECT, "bfloat16", 1),
    ("tiny-26b-a4b", FOLDED, "int4", 3),
    ("tiny-26b-a4b", FUSED, "bfloat16", 1),
    ("tiny-31b", SELECT, "bfloat16", 3),
]
ALL = [(variant, form, weights, batch)
       for variant in VARIANTS for form in FORMS for weights in ("bfloat16", "int4") for batch in (1, 3)]  # fmt: skip
# Tokens of the pieces of a conversation: each kind of step, a chunk whole and in part. Windows are of 8 tokens, rings
# of 32 slots, and full layers have more than are ever written.
PIECES = (1, 7, 8, 16, 1, 1, 5, 20, 1)


def mixed(cache):
    """What memory may hold that nobody zeroed, in the shape of ``cache``: another number in each slot."""
    numbers = torch.tensor([float("nan"), 1e30, float("-inf"), -1e30]).repeat(cache.shape[2] // 4 + 1)
    return cache + numbers[: cache.shape[2], None]


def logits(session, fill, ids):
    """Of ``PIECES``, in a session whose caches are filled so before the first token."""
    empty = session._empty
    session._empty = lambda graph, batch: {name: fill(cache) for name, cache in empty(graph, batch).items()}
    session.reset()
    pieces = np.split(ids, np.cumsum(PIECES)[:-1], axis=1)
    found = [session.forward(piece, all_positions=piece.shape[1] < 9) for piece in pieces]
    session._empty = empty
    return found


def conversation(vocabulary, batch):
    return np.random.default_rng(batch).integers(0, vocabulary, (batch, sum(PIECES)))


@pytest.mark.parametrize(("variant", "form", "weights", "batch"), with_nightly(CASES, ALL))
def test_unwritten_slots_change_nothing(variant, form, weights, batch, emit, checkpoints):
    made = emit(variant, Capacities(context=256, batch=batch, chunk=16), attention=form, weights=weights)
    session, ids = made.session(exact=False), conversation(checkpoints(variant).facts.text.vocab_size, batch)
    for want, found in zip(logits(session, lambda cache: cache, ids), logits(session, mixed, ids), strict=True):
        assert np.isfinite(want).all()
        np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("variant", ["tiny-31b", "tiny-26b-a4b"])
def test_nor_do_they_with_the_kernel_of_wide_heads(variant, emit, checkpoints):
    """Full TensorRT's, as the kernel's reference has it; of the kernel itself `tests/targets/kernels` says the same."""
    session = emit(variant, edition=FULL, fused_head=16).session(exact=True)
    ids = conversation(checkpoints(variant).facts.text.vocab_size, 1)
    for want, found in zip(logits(session, lambda cache: cache, ids), logits(session, mixed, ids), strict=True):
        np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("form", FORMS)
def test_it_would_be_seen(form, emit, checkpoints, monkeypatch):
    """Without the rows that are set to 0, the first token is a NaN."""
    monkeypatch.setattr(attention, "_seen_rows", lambda cache, mask, build: cache)
    session = emit("tiny-e2b", Capacities(context=64, batch=1, chunk=16), attention=form).session(exact=False)
    ids = conversation(checkpoints("tiny-e2b").facts.text.vocab_size, 1)
    assert np.isnan(logits(session, mixed, ids)[0]).all()


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_number_of_a_network_is_below_that_of_a_mask(variant, emit):
    """Of the decoder, with the masks of image blocks too, and of the encoders."""
    capacities = Capacities(context=256, batch=1, chunk=128, images=True)
    seeing = emit(variant, capacities, sounds=variant in ("tiny-e2b", "tiny-e4b", "tiny-12b"))
    made = [emit(variant).networks, seeing.networks, {part: [one] for part, one in seeing.encoders.items()}]
    least = [
        float(data.astype(np.float32).min())
        for networks in made
        for one in (one for ranks in networks.values() for one in ranks)
        for data in one.constants.values()
        if data.dtype.kind not in "ib" and data.size
    ]
    assert min(least) == pytest.approx(MASKED, rel=0.01)
