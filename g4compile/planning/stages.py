"""The graph of a model at a stage, as text, without its weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from g4compile.errors import InputError
from g4compile.graph.stage import STAGES
from g4compile.graph.text import to_text
from g4compile.model.config import load_config, model_facts
from g4compile.model.contents import DECODER
from g4compile.program import Program
from g4compile.targets import TARGETS, target_named
from g4compile.targets.choices import options_for
from g4compile.targets.lower import target_of, to_stage
from g4compile.trace.trace import trace


def graph_at(
    source: str | Path, stage: str, part: str = DECODER, progress: Callable[[str], None] = lambda text: None
) -> str:
    """The ``part`` (decoder, vision or audio) of ``source`` (preset, config or checkpoint folder) at ``stage``: one of
    `STAGES`, or legal:TARGET.

    What a compile with the target's defaults makes: `legal:TARGET` of the first variant of that target, the stages
    before it of onnx-cpu. Raises InputError for a stage or a part that does not exist.
    """
    stages = (*STAGES, *(target.stage for target in TARGETS.values()))
    if stage not in stages:
        raise InputError(f"there is no stage {stage}", fix=f"stages: {', '.join(stages)}")
    facts = model_facts(load_config(source), where=str(source))
    progress("step 1 of 2: trace")
    program = Program.of({part: trace(facts, part=part)}, facts)
    progress("step 2 of 2: passes")
    target = target_named(target_of(stage, default="onnx-cpu"))
    return to_text(to_stage(program, target, options_for(target, facts), stage))
