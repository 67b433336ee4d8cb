"""What a target is: legal ops and dtypes, lowerings, a named pass list, and how it writes a bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from g4compile.config import TextFacts
from g4compile.graph.stage import LEGAL
from g4compile.passes.legalize import Legalize, Lowering
from g4compile.pipeline import Phase


@dataclass(frozen=True)
class Target:
    """``legal`` ops may stay; others are lowered by ``lowerings``, else by their own body, else refused.

    ``weights`` and ``context``: what a compile takes when it is told nothing (None: all the model was made for).
    ``refuses``: weights that make no sense here, and why.
    """

    name: str
    legal: frozenset[str]
    dtypes: frozenset[ir.DataType]
    lowerings: Mapping[str, Lowering] = field(default_factory=dict)
    weights: str = "float32"
    context: int | None = None
    refuses: Mapping[str, str] = field(default_factory=dict)
    backend: Callable[[TextFacts], tuple[Phase, ...]] = lambda facts: ()

    @property
    def stage(self) -> str:
        return f"{LEGAL}{self.name}"

    @property
    def legalize(self) -> Legalize:
        """The generic pass with this target's data."""
        return Legalize(self.name, self.legal, self.lowerings, self.dtypes)
