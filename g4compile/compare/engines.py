"""The networks of an engine bundle, emitted again from its checkpoint: what `verify` runs where the engines cannot be.

A plan cannot be read back. What can be shown without a GPU is that the networks it was built from, made again by the same
compiler with the bundle's own capacities, mean what the model means.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from g4compile import pipeline
from g4compile.bundle.manifest import Bundle
from g4compile.errors import BundleError, InputError
from g4compile.targets.phases import frontend
from g4compile.targets.tensorrt.build import make_builder
from g4compile.targets.tensorrt.engine import StepNetwork, step_network
from g4compile.targets.tensorrt.interpreter.plugged import PLUGINS, PluggedBuilder
from g4compile.targets.tensorrt.interpreter.session import NetworkSession
from g4compile.targets.tensorrt.product import PRODUCTS, RTX
from g4compile.targets.tensorrt.steps import Capacities, Step, steps
from g4compile.trace.trace import trace
from g4compile.weights.checkpoint import Checkpoint
from g4compile.weights.references import bind


def network_sessions(bundle: Bundle, checkpoint: str | Path) -> tuple[NetworkSession, NetworkSession]:
    """Sessions over the interpreted networks of ``bundle``: computed exactly, and rounded as the network declares.

    Raises BundleError when the checkpoint has another config, or the networks no longer ask for the weights and steps that
    the manifest names.
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
    facts = source.facts
    capacities = Capacities(bundle.manifest.context, spec.batch, spec.chunk)
    model = trace(facts)
    bind(model, source)
    pipeline.run(model, frontend(facts.text, 0, ring=spec.ring))
    trt = RTX.load()  # its networks are those of both products, plugins aside, and it needs no GPU to emit one
    builder, _ = make_builder(trt)
    product, weights, ranks = PRODUCTS[spec.product], bundle.manifest.weights, spec.ranks
    plugins = None
    if product.plugins:
        builder, plugins = PluggedBuilder(builder), PLUGINS

    def emit(step: Step, rank: int) -> StepNetwork:
        return step_network(
            trt, builder, model, product.target, facts.text, step, capacities,
            weights=weights, rank=rank, ranks=ranks, plugins=plugins,
        )  # fmt: skip

    made = steps(capacities, weights, product.plugins)
    networks = {step.name: [emit(step, rank) for rank in range(ranks)] for step in made}
    asked = {name for emitted in networks.values() for one in emitted for name in one.emitter.weights}
    if list(networks) != [step.name for step in spec.steps] or asked != {weight.name for weight in spec.weights}:
        raise BundleError(
            "the bundle's engines are not what this g4compile emits for the checkpoint",
            where=str(bundle.folder),
            fix="compile it again, or give the checkpoint that it was compiled from",
        )
    exact, rounded = (
        NetworkSession(trt, networks, source, spec.ring, spec.chunk, exact=exact) for exact in (True, False)
    )
    return exact, rounded
