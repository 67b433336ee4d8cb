"""Every stage of every tiny variant against HF eager float32, run on ONNX Runtime through the bodies."""

import pytest

from g4compile import pipeline
from g4compile.compare.stages import StageRunner
from g4compile.targets import TARGETS
from g4compile.targets.base import Options
from tests.conftest import VARIANTS
from tests.scenario import run_scenario

STAGES = ("traced", "canonical", "fused", "scheduled", "quantized", "legal:onnx-cpu")


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("stage", STAGES)
def test_stage_equals_hf(variant, stage, checkpoints, traced, expected):
    facts = checkpoints(variant).facts
    model = traced(variant)
    phases = TARGETS["onnx-cpu"].pipeline(facts.text, Options())
    pipeline.run(model, phases[: STAGES.index(stage)])
    runner = StageRunner(model, facts)
    for batch in (1, 3):
        run_scenario(expected(variant, batch), runner.forward, runner.reset)
