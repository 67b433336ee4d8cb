"""The networks of an engine bundle, emitted again from its checkpoint: what `verify` runs where the engines cannot be.

A plan cannot be read back. What can be shown without a GPU is that the networks it was built from, made again by the
same compiler with the bundle's own capacities, mean what the model means.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from g4compile.bundle.folder import Bundle
from g4compile.bundle.manifest import DECODER, HostSpec
from g4compile.errors import BundleError, InputError
from g4compile.program import Program, bind
from g4compile.runtime.engine_steps import Planner
from g4compile.targets.base import Candidates, Lowered, Target
from g4compile.targets.lower import lower
from g4compile.targets.lowering.split import split_embedding
from g4compile.targets.tensorrt.build import EmittedNetwork, EngineBuilder
from g4compile.targets.tensorrt.edition import EDITIONS, RTX
from g4compile.targets.tensorrt.host import host_lookups
from g4compile.targets.tensorrt.interpreter.plugged import PluggedBuilder, stand_in
from g4compile.targets.tensorrt.interpreter.session import NetworkSession
from g4compile.trace.trace import trace
from g4compile.weights.checkpoint import Checkpoint


@dataclass(frozen=True)
class Networks:
    """Those of a bundle: of the decoder's ``steps``, by name, in ranks; of ``encoders``, by part. ``host``: the lookups
    before the decoder."""

    steps: dict[str, list[EmittedNetwork]]
    encoders: dict[str, EmittedNetwork]
    host: HostSpec

    @property
    def asked(self) -> set[str]:
        """Names of the weights that they take."""
        decoder = (one for ranks in self.steps.values() for one in ranks)
        return {name for one in (*decoder, *self.encoders.values()) for name in one.weights}


def network_candidates(target: Target, bundle: Bundle, checkpoint: str | Path) -> Candidates:
    """Sessions over the interpreted networks of ``bundle``: computed exactly, and rounded as the network declares.

    Raises BundleError when the checkpoint has another config, or the networks no longer ask for the weights and steps
    that the manifest names.
    """
    spec = bundle.manifest.engine
    if spec is None:
        raise InputError(f"{bundle.folder} is no engine bundle")
    source = Checkpoint.open(checkpoint)
    config = hashlib.sha256((source.folder / "config.json").read_bytes()).hexdigest()
    if config != bundle.manifest.source["config_sha256"]:
        raise BundleError(
            f"the engines were compiled from another config.json than that of {source.folder}",
            where=str(bundle.folder),
            fix="give the checkpoint that they were compiled from",
        )
    options = target.options(
        weights=bundle.manifest.weights,
        context=bundle.manifest.context,
        batch=spec.batch,
        chunk=spec.chunk,
        compute_capabilities=spec.compute_capabilities,
        tensor_parallel=spec.ranks,
        modalities=bundle.manifest.modalities,
    )
    builder = interpretable_builder(EDITIONS[spec.product].plugins)
    graphs = {DECODER: trace(source.facts)} | {one.part: trace(source.facts, part=one.part) for one in spec.encoders}
    program = Program.of(graphs, source.facts)
    bind(program, source)
    forms = {step.name: step.attention for step in spec.steps}
    made = emit_networks(builder, lower(program, target, options), forms)
    named = [step.name for step in spec.steps], [one.part for one in spec.encoders]
    if (list(made.steps), list(made.encoders)) != named or made.asked != {weight.name for weight in spec.weights}:
        raise BundleError(
            "the bundle's engines are not what this g4compile emits for the checkpoint",
            where=str(bundle.folder),
            fix="compile it again, or give the checkpoint that it was compiled from",
        )
    planner = Planner(spec.steps, spec.ring, bundle.manifest.context)
    exact, rounded = (
        NetworkSession(builder.trt, made.steps, made.host, source, planner, exact=exact) for exact in (True, False)
    )
    return Candidates(exact, rounded)


def interpretable_builder(plugins: bool) -> EngineBuilder:
    """A builder of networks that the interpreter reads: those of TensorRT-RTX, which needs no GPU to emit one, with
    stand-ins where ``plugins`` are."""
    builder = EngineBuilder(RTX, plugins=stand_in if plugins else None)
    if plugins:
        builder.builder = PluggedBuilder(builder.builder)
    return builder


def emit_networks(
    builder: EngineBuilder, lowered: Iterable[Lowered], attention: Mapping[str, str] = MappingProxyType({})
) -> Networks:
    """The networks of all graphs, and the host's lookups, which are those of every step. ``attention``: the form of
    steps, by name, where it is not the one that they are lowered in first."""
    made = Networks({}, {}, HostSpec((), 0, ()))
    for one in lowered:
        if one.variant.part != DECODER:
            made.encoders[one.variant.part] = builder.network(one.model.graph)
            continue
        variant = replace(one.variant, form=attention.get(one.variant.name, one.variant.form))
        parts = split_embedding((one if variant == one.variant else one.again(variant)).model)
        made = replace(made, host=host_lookups(parts["embed"].graph))
        made.steps.setdefault(one.variant.name, []).append(builder.network(parts["decoder"].graph))
    return made
