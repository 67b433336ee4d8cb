"""What a target is: legal ops and dtypes, lowerings, a named pass list, and how it writes a bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from g4compile.config import TextFacts
from g4compile.graph.edit import Inserter
from g4compile.pipeline import Phase

# A lowering inserts what replaces a node and returns the values that stand for its outputs.
Lowering = Callable[[ir.Node, Inserter], list[ir.Value]]


@dataclass(frozen=True)
class Target:
    """``legal`` ops may stay; others are lowered by ``lowerings``, else by their own body, else refused."""

    name: str
    legal: frozenset[str]
    dtypes: frozenset[ir.DataType]
    weights: tuple[str, ...]
    lowerings: Mapping[str, Lowering] = field(default_factory=dict)
    backend: Callable[[TextFacts], tuple[Phase, ...]] = lambda facts: ()

    @property
    def stage(self) -> str:
        return f"legal:{self.name}"
