"""Every stage of every tiny variant against HF eager float32, run on ONNX Runtime through the bodies."""

import pytest

from g4compile.compare.stages import StageRunner
from g4compile.program import Program
from g4compile.targets.lower import to_stage
from g4compile.targets.onnx.target import ONNX_CPU
from tests.conftest import VARIANTS
from tests.scenario import run_scenario

STAGES = ("traced", "canonical", "fused", "scheduled", "quantized", "legal:onnx-cpu")


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("stage", STAGES)
def test_stage_equals_hf(variant, stage, checkpoints, traced, expected):
    facts = checkpoints(variant).facts
    model = traced(variant)
    to_stage(Program.decoder(model, facts), ONNX_CPU, ONNX_CPU.options(), stage)
    runner = StageRunner(model, facts)
    for batch in (1, 3):
        run_scenario(expected(variant, batch), runner.forward, runner.reset)
