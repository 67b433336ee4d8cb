"""What a target is: legal ops and dtypes, lowerings, a named pass list, and how it writes a bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx_ir as ir

from g4compile import pipeline
from g4compile.bundle.manifest import EngineSpec, GraphSpec, KVSpec, QuantizedSpec, TensorSpec
from g4compile.graph.stage import LEGAL
from g4compile.model.config import ModelFacts, TextFacts
from g4compile.passes.legalize import Legalize, Lowering
from g4compile.pipeline import Phase
from g4compile.weights.journal import Journal
from g4compile.weights.recipe import Recipe

FLOAT32 = "float32"
REWIND = 16  # tokens that a windowed cache can take back: enough for a drafter's round
# Called with what is done now, and the bytes of weights written so far and in all (0 before they are known).
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Options:
    """What a compile was asked for, checked. ``weights``: float32, bfloat16, stored, or a recipe's name; then ``recipe`` is
    what was read, once, under that name.

    ``context``: most tokens of a session. Of engines alone: ``batch`` sequences, ``chunk`` tokens a prefill step, and the
    GPUs they are for, as compute capabilities (89 for 8.9), and over how many ``ranks`` a model is split.
    """

    weights: str = FLOAT32
    kv: str = FLOAT32
    context: int = 0
    batch: int = 1
    chunk: int = 128
    compute_capabilities: tuple[int, ...] = ()
    ranks: int = 1
    shared_tail: bool = True
    recipe: Recipe | None = None


@dataclass(frozen=True)
class Order:
    """One bundle to write into ``folder``: the [traced] graph of ``facts``, its weights bound, and ``options``.

    ``max_memory``: bytes for weights in flight.
    """

    model: ir.Model
    facts: ModelFacts
    options: Options
    folder: Path
    journal: Journal
    max_memory: int
    observe: tuple[pipeline.Observer, ...]
    progress: Progress


@dataclass(frozen=True)
class Emitted:
    """What a manifest says of the files that were written."""

    graphs: dict[str, GraphSpec]
    kv: KVSpec
    activations: str
    quantized: dict[str, QuantizedSpec] = field(default_factory=dict)
    engine: EngineSpec | None = None
    versions: tuple[str, ...] = ()


def io_specs(values: Sequence[ir.Value]) -> tuple[TensorSpec, ...]:
    """Graph inputs or outputs as a manifest names them."""
    return tuple(
        TensorSpec(
            str(value.name),
            str(value.dtype).lower(),
            tuple(size if isinstance(size, int) else str(size) for size in value.shape or ()),
        )
        for value in values
    )


@dataclass(frozen=True)
class Target:
    """``legal`` ops may stay; others are lowered by ``lowerings``, else by their own body, else refused.

    ``pipeline``: all phases from [traced] to the target's legal graph. ``check`` raises InputError or MachineError for what
    the target cannot do, before anything is done. ``weights``, ``kv`` and ``context``: what a compile takes when it is told
    nothing (of ``kv`` the first; no context: all the model was made for). ``accepts``: weights it takes, or None for
    any; ``refuses``: ones that make no sense here, and why. ``traces_apart``: in a process of its own, so that what torch holds
    is not beside what a builder takes.
    """

    name: str
    legal: frozenset[str]
    dtypes: frozenset[ir.DataType]
    pipeline: Callable[[TextFacts, Options], tuple[Phase, ...]]
    emit: Callable[[Order], Emitted]
    lowerings: Mapping[str, Lowering] = field(default_factory=dict)
    weights: str = FLOAT32
    kv: tuple[str, ...] = (FLOAT32, "int8")
    context: int | None = None
    accepts: tuple[str, ...] | None = None
    refuses: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[ModelFacts, Options], None] = lambda facts, options: None
    traces_apart: bool = False

    @property
    def stage(self) -> str:
        return f"{LEGAL}{self.name}"

    @property
    def legalize(self) -> Legalize:
        """The generic pass with this target's data."""
        return Legalize(self.name, self.legal, self.lowerings, self.dtypes)
