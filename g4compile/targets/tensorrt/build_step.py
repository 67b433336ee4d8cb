"""The plan of one step of the decoder, in the first form of attention that the builder takes.

A builder says only when it builds whether it has kernels for a network. So a step that it refuses is lowered, emitted
and built again in the next form (`attention_forms.py`), one at a time: of a form that was refused, its words stay.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import onnx_ir as ir

from g4compile.bundle.manifest import HostSpec
from g4compile.errors import MachineError
from g4compile.targets.base import Lowered
from g4compile.targets.lowering.split import split_embedding
from g4compile.targets.tensorrt.attention_forms import FORMS
from g4compile.targets.tensorrt.build import EngineBuilder
from g4compile.targets.tensorrt.host import host_lookups
from g4compile.targets.tensorrt.options import EngineOptions
from g4compile.targets.tensorrt.refusal import OTHERS, Refusal
from g4compile.targets.tensorrt.steps import Sizes

Report = Callable[[str], None]  # of what is done now
_LONGEST = 500  # characters of a builder's words that are kept


@dataclass(frozen=True)
class BuiltStep:
    """``plan``: of the legal ``graph``, which reads no token ids; ``host``: the lookups before it. ``weights``: those
    that it takes as inputs. ``attention``: the form it is in; ``refused``: those that the builder did not take, with
    its words."""

    plan: bytes
    graph: ir.Graph
    host: HostSpec
    weights: Mapping[str, ir.TensorProtocol]
    attention: str
    refused: Mapping[str, str]


class StepBuilder:
    """Builds steps for ``options`` by ``builder``; ``report`` is told of each attempt."""

    def __init__(self, builder: EngineBuilder, options: EngineOptions, report: Report) -> None:
        self._builder, self._options, self._report = builder, options, report

    def build(self, lowered: Lowered, name: str, sizes: Sizes) -> BuiltStep:
        """The step of ``lowered``, or of the same in a later form. Warns when a form was refused.

        Raises MachineError, with the builder's words of each form, when it takes none that it may.
        """
        first, again = lowered.variant, lowered.again
        refused: dict[str, str] = {}
        for form in self._options.attention_forms:
            try:
                if form == first.form:
                    built = self._attempt(lowered, name, sizes)
                else:
                    built = self._attempt(again(replace(first, form=form)), f"{name} ({form})", sizes)
            except Refusal as refusal:
                refused[form] = _words(refusal)
                continue
            self._tell(name, form, refused)
            return replace(built, refused=refused)
        raise self._none(name, refused)

    def _attempt(self, lowered: Lowered, name: str, sizes: Sizes) -> BuiltStep:
        self._report(f"{name}: emit")
        parts = split_embedding(lowered.model)
        host = host_lookups(parts["embed"].graph)
        emitted = self._builder.network(parts["decoder"].graph)  # holds memory while it lives: here alone
        self._report(f"{name}: build")
        plan = self._builder.plan(emitted, name, [sizes], self._options.compute_capabilities)
        return BuiltStep(plan, emitted.graph, host, emitted.weights, lowered.variant.form, {})

    def _tell(self, name: str, form: str, refused: Mapping[str, str]) -> None:
        if refused:
            product = self._builder.edition.name
            warnings.warn(
                f"{name}: attention is {form}, because {product} does not build it {' or '.join(refused)}: "
                f"{'; '.join(refused.values())}",
                stacklevel=2,
            )

    def _none(self, name: str, refused: Mapping[str, str]) -> MachineError:
        said = f"{self._builder.edition.name} {self._builder.trt.__version__}"
        others = [form for form in FORMS if form not in refused]
        return MachineError(
            f"{said} does not build the {name} network"
            + (f" with attention {next(iter(refused))}" if others else " in any form of attention"),
            why="; ".join(f"{form}: {words}" for form, words in refused.items()),
            fix="leave --attention away, and the others are tried" if others else OTHERS,
        )


def _words(refusal: Refusal) -> str:
    """On one line, and not longer than a person reads."""
    said = " ".join(f"{refusal.where}: {refusal.why}".removeprefix(": ").split())
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}..."
