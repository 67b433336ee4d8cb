"""The contract of a target: which options it has, which graphs it makes of a model, by which phases, and how it writes
them.

options = target.options(weights="int4", context=4096)         refuses what the target does not have
for lowered in lower(program, target, options): ...            the one driver: `inspect`, `compile` and `verify` use it
emitted = target.emit(order, lowered graphs)                   writes them; runs no pass
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import onnx_ir as ir

from g4compile.bundle.folder import Bundle
from g4compile.bundle.manifest import CudaSpec, EngineSpec, GraphSpec, KVSpec, QuantizedSpec, TensorSpec
from g4compile.bundle.media import MediaSpec
from g4compile.errors import Defect, InputError
from g4compile.graph.stage import LEGAL
from g4compile.model.config import ModelFacts, TextFacts
from g4compile.model.towers import TowerFacts
from g4compile.passes.legalize import Legalize
from g4compile.pipeline import Phase
from g4compile.requirements import COMPILE
from g4compile.weights.journal import Journal
from g4compile.weights.recipe import Recipe
from g4compile.weights.side_files import SideFiles

Array = np.ndarray[Any, Any]
FLOAT32, TEXT = "float32", "text"
_SPELLED = {"compute_capabilities": "--sm"}  # options that the command line spells otherwise than their fields
REWIND = 16  # tokens that a windowed cache can take back: enough for a drafter's round
# Called with what is done now, and the bytes of weights written so far and in all (0 before they are known).
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Options:
    """What every target is told, checked. ``weights``: float32, bfloat16, stored, or the name of the ``recipe``,
    which was read once. ``kv``: how keys and values are kept (`bundle/kv.py`). ``context``: most tokens of a session;
    0 for what the model was made for. ``shared_tail``: behind the last layer that writes keys and values, only the
    positions asked for are computed. ``modalities``: what the bundle takes in."""

    weights: str = FLOAT32
    kv: str = FLOAT32
    context: int = 0
    shared_tail: bool = True
    recipe: Recipe | None = None
    modalities: tuple[str, ...] = (TEXT,)


@dataclass(frozen=True)
class Variant:
    """One graph that a target makes of a part of the model: by its ``name`` (`any`, `decode`), of one ``rank``.
    ``form``: in which of several ways it computes the same; empty where there is one way."""

    part: str = "decoder"
    name: str = "any"
    rank: int = 0
    form: str = ""


def _once(variant: Variant) -> Lowered:
    raise Defect(f"the part {variant.part} is lowered in one form alone")


@dataclass(frozen=True)
class Lowered:
    """The legal graph of ``variant``. ``again``: lowers the same part as another variant, from where the phases of
    variants differ: for a target that finds, when it writes one, that this form cannot be."""

    variant: Variant
    model: ir.Model
    again: Callable[[Variant], Lowered] = _once


@dataclass(frozen=True)
class Order:
    """One bundle to write into ``folder``, of a model of ``facts`` with ``options``. ``max_memory``: bytes for
    weights in flight. ``media``: what the bundle takes beside text. ``side``: files that go into it as they are."""

    facts: ModelFacts
    options: Options
    folder: Path
    journal: Journal
    max_memory: int
    progress: Progress
    media: MediaSpec | None = None
    side: SideFiles = field(default_factory=lambda: SideFiles({}, ()))

    def written(self, done: int, total: int, name: str) -> None:
        """Report ``done`` of ``total`` bytes of weights."""
        self.progress(name, done, total)


@dataclass(frozen=True)
class Emitted:
    """What a manifest says of the files that were written."""

    graphs: dict[str, GraphSpec]
    kv: KVSpec
    activations: str
    quantized: dict[str, QuantizedSpec] = field(default_factory=dict)
    engine: EngineSpec | None = None
    cuda: CudaSpec | None = None


class Answering(Protocol):
    """What `verify` asks: a session, or what stands in for one."""

    def reset(self) -> None: ...

    def forward(self, input_ids: Any, *, all_positions: bool = False) -> Array:
        """Append int64 [B, S], or a prompt with media where the bundle takes them; float32 logits [B, V] of the last
        position, or [B, S, V]."""
        ...


@dataclass(frozen=True)
class Candidates:
    """Who answers for a bundle in `verify`. ``rounded``: the same with every value rounded as it declares, where the
    first computes exactly."""

    session: Answering
    rounded: Answering | None = None


class Target(ABC):
    """A kind of bundle. One instance per name; instances hold no state.

    ``default_weights``, ``kv`` and ``context``: what a compile takes when it is told nothing (of ``kv`` the first; no
    context: all the model was made for). ``accepts``: weights that it takes, or None for any recipe; ``refuses``: ones
    that make no sense here, and why. ``traces_apart``: in a process of its own, so that what torch holds is not beside
    what a builder takes. ``modalities`` that its bundles can take in, and do when
    nothing is said; ``default_modalities`` where these are fewer. ``extras`` of g4compile that a compile needs beside
    the base install: `doctor` reads them.
    """

    name: str
    options_class: ClassVar[type[Options]] = Options
    default_weights: str = FLOAT32
    kv: tuple[str, ...] = (FLOAT32, "int8")
    context: int | None = None
    accepts: tuple[str, ...] | None = None
    refuses: dict[str, str] = {}
    traces_apart: bool = False
    modalities: tuple[str, ...] = (TEXT,)
    default_modalities: tuple[str, ...] | None = None
    extras: tuple[str, ...] = (COMPILE,)

    def defaults(self, facts: ModelFacts, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """Options that a model of ``facts`` has where a compile is not ``asked`` for others, by name: those that are
        not the target's own for every model."""
        return {}

    def options(self, **given: Any) -> Options:
        """The options of a compile. Raises InputError for one that this target does not have."""
        names = [one.name for one in dataclasses.fields(self.options_class)]
        for name in given:
            if name not in names:
                option = _SPELLED.get(name, f"--{name.replace('_', '-')}")
                raise InputError(
                    f"{option} is no option of the target {self.name}",
                    fix=f"leave {option} away, or choose a --target that has it",
                )
        return self.options_class(**given)

    @property
    def stage(self) -> str:
        """The stage of its legal graphs."""
        return f"{LEGAL}{self.name}"

    @abstractmethod
    def legalize(self) -> Legalize:
        """The generic pass with this target's data."""

    def check(self, facts: ModelFacts, options: Options) -> None:  # noqa: B027 - many targets can do all they are told
        """Raise InputError or MachineError for what cannot be done, before anything is."""

    def files(self, side: SideFiles, options: Options, media: MediaSpec | None) -> SideFiles:
        """The files of settings that go into a bundle which takes ``media`` beside text: ``side``, which stand beside
        the weights, and what is made of them. Raises CheckpointError where it needs more, InputError for media that it
        cannot take."""
        return side

    def check_machine(self) -> None:  # noqa: B027 - many targets compile on any machine
        """Raise MachineError for what this machine lacks, beside packages."""

    def variants(self, facts: ModelFacts, options: Options) -> Sequence[Variant]:
        """The graphs that it makes of a model."""
        return (Variant(),)

    @abstractmethod
    def phases(self, facts: TextFacts | TowerFacts, options: Options, variant: Variant) -> tuple[Phase, ...]:
        """From [traced] to the legal graph of ``variant``, of a part of ``facts``. Those that all variants begin with
        run once."""

    @abstractmethod
    def emit(self, order: Order, lowered: Iterable[Lowered]) -> Emitted:
        """Write the graphs and their weights into the order's folder. Runs no pass."""

    @abstractmethod
    def candidates(self, bundle: Bundle, checkpoint: str | Path, threads: int = 0) -> Candidates:
        """Who answers for ``bundle`` when it is compared with ``checkpoint``. Raises BundleError, MachineError."""


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
