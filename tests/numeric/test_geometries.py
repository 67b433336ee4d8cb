"""Geometries nobody published: whatever the classes can express must come out equal to HF eager float32."""

import json

import pytest

from g4compile.compare.stages import StageRunner
from g4compile.compiler import compile, trace
from g4compile.runtime.session import Session
from g4compile.synth.checkpoint import synthesize
from g4compile.weights.checkpoint import Checkpoint
from g4compile.weights.lazy import bind
from tests.numeric.geometries import draw
from tests.scenario import Expected, reference_logits, run_scenario


def _check(seed, folder, steps):
    config = draw(seed)
    (folder / "config.json").write_text(json.dumps(config))
    synthesize(folder / "config.json", folder / "checkpoint", seed=seed)
    checkpoint = Checkpoint.open(folder / "checkpoint")
    traced = trace(checkpoint.facts)
    bind(traced, checkpoint)
    runner = StageRunner(traced, checkpoint.facts)
    session = Session(compile(checkpoint.folder, "onnx-cpu", folder / "bundle"), threads=1)
    for batch in (1, 3):
        expected = Expected(**reference_logits(checkpoint, batch, steps))
        run_scenario(expected, runner.forward, runner.reset)
        run_scenario(expected, lambda ids: session.forward(ids, all_positions=True), session.reset)


@pytest.mark.parametrize("seed", range(4))
def test_random_geometry_equals_hf(seed, tmp_path):
    _check(seed, tmp_path, steps=20)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(4, 20))
def test_many_random_geometries_equal_hf(seed, tmp_path):
    _check(seed, tmp_path, steps=120)
