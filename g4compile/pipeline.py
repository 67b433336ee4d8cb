"""Runs passes: the spec of the stage is checked after each, each is timed, and its result can be dumped.

A phase is a stage and the passes that lead to it. While a phase runs, ops of the stage before and of the stage
to come may both appear; at its end only those of the new stage. No pass knows any of this.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from g4compile.errors import REPORT, Defect, InputError, SpecError
from g4compile.graph import text
from g4compile.graph.edit import name_uniquely
from g4compile.graph.stage import STAGES, Spec, check, set_stage, stage_of
from g4compile.inputs.files import Kind, write_bytes
from g4compile.inputs.system import system_errors
from g4compile.ops.registry import attach_bodies, check_operands, specs
from g4compile.passes.base import Pass

_DUMP = Kind("the graph after a pass", limit=1 << 30, fix="give a new folder")
Observer = Callable[["PassRun", ir.Model], None]
_VALID = "`g4compile inspect CHECKPOINT --graph STAGE` prints a graph that is valid at a stage"
_MADE = "run the pass on a graph that `g4compile inspect CHECKPOINT --graph STAGE` prints; if that fails too, report it"


@dataclass(frozen=True)
class Phase:
    """``passes`` take a graph from the stage before to ``stage``, whose spec is ``allowed``."""

    stage: str
    passes: tuple[Pass, ...]
    allowed: Spec

    @classmethod
    def to(cls, stage: str, *passes: Pass) -> Phase:
        """A phase to one of the named stages, with its own spec."""
        return cls(stage, passes, specs()[stage])


@dataclass(frozen=True)
class Place:
    """Where a run stands in a longer one: the ``variant`` it is for, empty for all, and how many passes ran
    ``before``."""

    variant: str = ""
    before: int = 0


@dataclass(frozen=True)
class PassRun:
    """One pass that ran. ``nodes`` is the count after it, ``seconds`` the time of pass and check together.
    ``variant``: of which graph, empty where all come from this one."""

    number: int
    stage: str
    name: str
    nodes: int
    seconds: float
    variant: str = ""


def run(
    model: ir.Model, phases: Sequence[Phase], observe: Sequence[Observer] = (), place: Place = Place()
) -> list[PassRun]:
    """Run ``phases`` on ``model`` in place. Raises SpecError or MatchError naming the pass."""
    runs: list[PassRun] = []
    if not phases:
        return runs
    allowed = specs()[stage_of(model)]
    for phase in phases:
        start_stage = stage_of(model)
        for one in phase.passes:
            if start_stage not in one.stages:
                raise Defect(
                    f"{one.name} runs in {', '.join(one.stages)}, the graph is at {start_stage}",
                    where=one.name,
                )
            start = time.perf_counter()
            one.apply(model)
            check(model, allowed | phase.allowed, one.name)
            check_operands(model.graph, one.name)
            runs.append(
                PassRun(
                    place.before + len(runs) + 1,
                    phase.stage,
                    one.name,
                    model.graph.num_nodes(),
                    time.perf_counter() - start,
                    place.variant,
                )
            )
            _report(runs[-1], model, observe)
        last = phase.passes[-1].name if phase.passes else "no pass"
        check(model, phase.allowed, f"{last}, at the end of stage {phase.stage}")
        set_stage(model, phase.stage)
        name_uniquely(model)
        attach_bodies(model)
        allowed = phase.allowed
    return runs


def run_alone(model: ir.Model, passes: Sequence[Pass]) -> None:
    """Run ``passes`` one after the other on a graph of any stage, as `g4compile opt` does.

    A graph that already meets the spec of the next stage is taken to be there when a pass asks for that stage. Raises
    InputError for a graph that is not valid at its stage, for one that a pass refuses, and for one of which a pass
    makes what breaks the spec: passes expect more of a graph than the spec says, and nobody vouches for this one.
    """
    with _given():
        stage = stage_of(model)
        if stage in STAGES:
            _check_at(model, stage, "reading")
    for one in passes:
        stage = _stage_for(model, one)
        set_stage(model, stage)
        with _given():
            one.apply(model)
        with _given(_MADE):
            if stage == STAGES[-1]:  # what follows is of a target
                check_operands(model.graph, one.name)
            else:
                _check_at(model, stage, one.name)
    name_uniquely(model)
    attach_bodies(model)


@contextmanager
def _given(fix: str = _VALID) -> Iterator[None]:
    """What is found of a graph that was given is not told as a defect of ours, but with ``fix``."""
    try:
        yield
    except Defect as error:
        raise InputError(
            error.what, where=error.where, why=error.why, fix=fix if error.fix == REPORT else error.fix
        ) from error


def _check_at(model: ir.Model, stage: str, after: str) -> None:
    """Raise SpecError unless ``model`` may stand between ``stage`` and the one that follows."""
    following = STAGES[STAGES.index(stage) + 1 :][:1]
    check(model, frozenset().union(*(specs()[one] for one in (stage, *following))), after)
    check_operands(model.graph, after)


def _stage_for(model: ir.Model, one: Pass) -> str:
    current = stage_of(model)
    if current not in STAGES:
        raise InputError(
            f"the graph is at the stage {current}, which no pass takes", fix=f"stages: {', '.join(STAGES)}"
        )
    later = [stage for stage in STAGES[STAGES.index(current) :] if stage in one.stages]
    if not later:
        raise InputError(
            f"{one.name} runs in the stages {', '.join(one.stages)}, the graph is at {current}",
            fix=f"`g4compile inspect CHECKPOINT --graph {one.stages[0]}` prints a graph at that stage",
        )
    if later[0] != current:
        try:
            check(model, specs()[later[0]], f"the passes before {one.name}")
        except SpecError as error:
            raise InputError(
                f"{one.name} runs in the stages {', '.join(one.stages)}, "
                f"the graph is at {current} and not ready for it",
                where=error.where,
                why=error.what,
                fix="run the passes of the stages between first",
            ) from error
    return later[0]


def _report(run: PassRun, model: ir.Model, observe: Sequence[Observer]) -> None:
    if int(os.environ.get("G4_DEBUG") or 0) >= 1:
        print(
            f"[{run.stage}] {run.number:2d} {run.name:34s} {run.nodes:6d} nodes {run.seconds * 1e3:8.1f} ms",
            file=sys.stderr,
        )
    for observer in observe:
        observer(run, model)


def dump_to(folder: Path) -> Observer:
    """An observer that writes the graph after every pass, as `NN-pass-name.onnxtxt`, or
    `NN-pass-name.VARIANT.onnxtxt`. Such files of an earlier compile are replaced.

    Raises InputError when ``folder`` is no folder and cannot be made one; the observer raises it when a file cannot be
    written, or something else has its name; MachineError when the disk is full, or fails.
    """
    with system_errors("making the folder for graphs", folder):
        folder.mkdir(parents=True, exist_ok=True)

    def write(run: PassRun, model: ir.Model) -> None:
        name = f"{run.number:02d}-{run.name}{'.' if run.variant else ''}{run.variant}"
        write_bytes(folder / f"{name}.onnxtxt", text.to_text(model).encode(), _DUMP)

    return write
