"""Any pass alone, on a graph in text form: those of all targets too, and `legalize{target=NAME}`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_ir as ir

from g4compile import pipeline
from g4compile.errors import InputError
from g4compile.graph.text import to_text
from g4compile.passes.base import parse_pipeline
from g4compile.passes.registry import all_passes
from g4compile.targets import TARGETS, target_passes
from g4compile.weights.text import parse_graph


@dataclass(frozen=True)
class LegalizeFor:
    """`legalize{target=NAME}`: the generic pass with the data of a target."""

    name: ClassVar[str] = "legalize"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)
    target: str = "onnx-cpu"

    def apply(self, model: ir.Model) -> None:
        """As the target's own pass. Raises InputError for a target that does not exist."""
        if self.target not in TARGETS:
            raise InputError(f"there is no target {self.target}", fix=f"targets: {', '.join(TARGETS)}")
        TARGETS[self.target].legalize().apply(model)


def known_passes() -> dict[str, type[Any]]:
    """All passes by name; `legalize` here takes the name of a target."""
    return {**all_passes(), **target_passes(), LegalizeFor.name: LegalizeFor}


def run_on_text(source: str, passes: str, where: str = "text") -> str:
    """The graph ``source`` in ONNX text after ``passes`` (`name{option=value,...}, ...`), as text.

    Specs are checked after each pass. Raises InputError, MatchError or SpecError.
    """
    chosen = parse_pipeline(passes, known_passes())
    model = parse_graph(source, where=where)
    pipeline.run_alone(model, chosen)
    return to_text(model)
