"""Networks split over ranks: run in step they are the whole model, and each rank's plans are built."""

from __future__ import annotations

import numpy as np
import pytest

from g4compile.compare.verify import verify
from g4compile.compiler import compile
from g4compile.errors import InputError, MachineError, MatchError
from g4compile.model.config import load_config, model_facts
from g4compile.program import Program
from g4compile.runtime.session import load
from g4compile.targets.lower import lower
from g4compile.targets.tensorrt.edition import FULL
from g4compile.targets.tensorrt.options import EngineOptions, check_split
from g4compile.targets.tensorrt.target import TENSORRT_RTX
from tests.conftest import VARIANTS

SPLITS = [*((variant, 2) for variant in VARIANTS), ("tiny-26b-a4b", 4)]  # 4 ranks on 2 KV heads: each is held twice


@pytest.mark.parametrize(("variant", "ranks"), SPLITS)
def test_ranks_in_step_are_the_whole_model(variant, ranks, emit, expected):
    made, want = emit(variant, ranks=ranks), expected(variant, 1)
    session = made.session(exact=True)
    worst = np.abs(session.forward(want.prompt, all_positions=True) - want.prefill).max()
    for step in range(12):
        logits = session.forward(want.tokens[:, step : step + 1], all_positions=True)
        worst = max(worst, np.abs(logits - want.decode[:, step : step + 1]).max())
    assert worst <= 5e-4
    session.reset()
    assert np.abs(session.forward(want.prompt) - want.prefill[:, -1]).max() <= 5e-4


def test_ranks_with_kernels_are_the_whole_model(emit, expected):
    """Full TensorRT's: each rank's share of every expert in the plugins, and of the wide heads."""
    made, want = emit("tiny-26b-a4b", ranks=2, edition=FULL, fused_head=16), expected("tiny-26b-a4b", 1)
    assert np.abs(made.session(exact=True).forward(want.prompt) - want.prefill[:, -1]).max() <= 5e-4


@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-26b-a4b"])
def test_a_rank_holds_its_share(variant, emit):
    whole, split = emit(variant).networks["decode"][0], emit(variant, ranks=2).networks["decode"]
    for name in ("q_proj", "o_proj", "down_proj"):
        keys = [key for key in whole.weights if name in key and ".experts." not in key]
        assert keys
        for key in keys:
            sizes = [np.prod(rank.weights[key].shape.numpy()) for rank in split]
            assert sizes == [np.prod(whole.weights[key].shape.numpy()) // 2] * 2


@pytest.mark.parametrize("variant", VARIANTS)
def test_plans_of_every_rank_are_built(trt, emit, variant):
    made = emit(variant, ranks=2)
    for name, ranks in made.networks.items():
        for one in ranks:
            plan = made.builder.plan(one, name, [made.steps[name].sizes(1)], (89,))
            assert len(plan) > 10_000, name


def test_what_cannot_be_shared_out_is_refused(traced, checkpoints):
    program = Program.decoder(traced("tiny-31b"), checkpoints("tiny-31b").facts)
    options = TENSORRT_RTX.options(context=256, chunk=16, compute_capabilities=(89,), tensor_parallel=3)
    with pytest.raises(MatchError, match="cannot be shared out to 3 ranks"):
        next(lower(program, TENSORRT_RTX, options))


def test_a_bundle_has_plans_and_weights_of_every_rank(trt, checkpoints, tmp_path):
    folder = checkpoints("tiny-31b").folder
    bundle = compile(
        folder, "tensorrt-rtx", tmp_path / "split", context=128, chunk=16, compute_capabilities=(89,), tensor_parallel=2
    )
    engine = bundle.manifest.engine
    assert engine.ranks == 2 and set(bundle.manifest.graphs) == {
        bundle.manifest.graph("decoder", step.name, rank) for step in engine.steps for rank in range(2)
    }
    of_rank = [[weight for weight in engine.weights if weight.rank == rank] for rank in range(2)]
    assert [weight.name for weight in of_rank[0]] == [weight.name for weight in of_rank[1]]
    assert any(one.steps != other.steps for one, other in zip(*of_rank, strict=True))
    assert verify(bundle, folder, prompt_tokens=40, new_tokens=4).passed
    with pytest.raises(MachineError, match="for 2 GPUs"):
        load(bundle.folder, checkpoint=folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tensor_parallel": 3}, "query heads cannot be shared out to 3"),
        ({"tensor_parallel": 0}, "over 0 ranks"),
        ({"weights": "int4"}, "not split"),
    ],
)
def test_refused_before_a_builder(changes, message):
    facts = model_facts(load_config("tiny-31b"), where="tiny-31b").text
    with pytest.raises(InputError, match=message):
        check_split(facts, EngineOptions(**{"tensor_parallel": 2, **changes}))
