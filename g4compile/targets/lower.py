"""From the [traced] graph to the legal graphs of a target: the one driver of passes that every verb uses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from g4compile import pipeline
from g4compile.errors import InputError
from g4compile.graph.stage import LEGAL, STAGES
from g4compile.pipeline import Phase
from g4compile.program import Part, Program
from g4compile.targets.base import Lowered, Options, Target, Variant


def lower(
    program: Program, target: Target, options: Options, observe: Sequence[pipeline.Observer] = ()
) -> Iterator[Lowered]:
    """The legal graph of each variant of each part, one after the other, so that what is made of one can be dropped
    before the next.

    Phases that all variants of a part begin with run once, on the part's own graph, which then stays until the next
    part; a single variant takes it all the way. Raises InputError for a part that the target makes no graph of.
    """
    for part in program.parts.values():
        variants = [one for one in target.variants(program.facts, options) if one.part == part.name]
        if not variants:
            raise InputError(f"the target {target.name} makes no graph of the part {part.name}")
        phases = [target.phases(part.facts, options, variant) for variant in variants]
        shared = _common(phases)
        done = len(pipeline.run(part.model, phases[0][:shared], observe))
        if len(variants) == 1:
            yield Lowered(variants[0], part.model)
            continue
        middle = _Middle(part, target, options, variants, shared, done, observe)
        for variant in variants:
            yield middle.lower(variant)  # held by no name here: who writes it can drop it


@dataclass(frozen=True)
class _Middle:
    """A ``part`` behind the first ``phases`` phases, of ``passes`` passes, that its ``variants`` share."""

    part: Part
    target: Target
    options: Options
    variants: Sequence[Variant]
    phases: int
    passes: int
    observe: Sequence[pipeline.Observer]

    def lower(self, variant: Variant) -> Lowered:
        """The legal graph of ``variant``, of a copy of the part's."""
        one, phases = self.part.model.clone(), self.target.phases(self.part.facts, self.options, variant)
        place = pipeline.Place(graph_name(variant, self.variants), self.passes)
        pipeline.run(one, phases[self.phases :], self.observe, place)
        return Lowered(variant, one, self.lower)


def to_stage(program: Program, target: Target, options: Options, stage: str) -> ir.Model:
    """The first part of the [traced] ``program`` at ``stage`` of the target's first variant of it. Raises InputError
    for an unknown stage."""
    part = next(iter(program.parts.values()))
    model, variants = part.model, target.variants(program.facts, options)
    phases = target.phases(part.facts, options, next(one for one in variants if one.part == part.name))
    stages = [STAGES[0], *(phase.stage for phase in phases)]
    if stage not in stages:
        raise InputError(f"there is no stage {stage} for {target.name}", fix=f"stages: {', '.join(stages)}")
    pipeline.run(model, phases[: stages.index(stage)])
    return model


def target_of(stage: str, default: str) -> str:
    """The target whose stage ``stage`` is; ``default`` for stages of all targets."""
    return stage.removeprefix(LEGAL) if stage.startswith(LEGAL) else default


def graph_name(variant: Variant, among: Sequence[Variant]) -> str:
    """The name of a variant's graph: that of the variant, its rank where there are several, and its form where it is
    none that was to be made."""
    rank = f".rank{variant.rank}" if any(one.rank for one in among) else ""
    form = "" if variant in among else f".{variant.form}"
    return f"{variant.name}{rank}{form}"


def _common(lists: Sequence[tuple[Phase, ...]]) -> int:
    """How many phases all lists begin with."""
    count = 0
    while all(len(one) > count and one[count] == lists[0][count] for one in lists) and count < len(lists[0]):
        count += 1
    return count
