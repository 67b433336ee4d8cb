"""The graph of a model at a stage, as text, without its weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from g4compile import pipeline
from g4compile.compiler import trace
from g4compile.errors import InputError
from g4compile.graph.stage import LEGAL, STAGES
from g4compile.graph.text import to_text
from g4compile.model.config import load_config, model_facts
from g4compile.targets import TARGETS
from g4compile.targets.base import Options


def graph_at(source: str | Path, stage: str, progress: Callable[[str], None] = lambda text: None) -> str:
    """The decoder of ``source`` (preset, config or checkpoint folder) at ``stage``: one of `STAGES`, or legal:TARGET.

    Raises InputError for a stage that does not exist.
    """
    stages = (*STAGES, *(target.stage for target in TARGETS.values()))
    if stage not in stages:
        raise InputError(f"there is no stage {stage}", fix=f"stages: {', '.join(stages)}")
    facts = model_facts(load_config(source), where=str(source))
    progress("step 1 of 2: trace")
    model = trace(facts)
    if stage != STAGES[0]:
        progress("step 2 of 2: passes")
        target = TARGETS[stage.removeprefix(LEGAL) if stage.startswith(LEGAL) else "onnx-cpu"]
        phases = target.pipeline(facts.text, Options())
        wanted = [phase.stage for phase in phases]
        pipeline.run(model, phases[: wanted.index(stage) + 1])
    return to_text(model)
