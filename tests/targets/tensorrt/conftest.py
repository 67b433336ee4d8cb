"""Networks of the tiny variants over the bindings of TensorRT-RTX, which need no GPU to emit and to build."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from g4compile import pipeline
from g4compile.compare.network_session import NetworkSession
from g4compile.targets.frontend import frontend
from g4compile.targets.tensorrt.engine import StepNetwork, step_network
from g4compile.targets.tensorrt.steps import Capacities, steps

CAPACITIES = Capacities(context=256, batch=1, chunk=8)


@pytest.fixture(scope="session")
def trt():
    return pytest.importorskip(
        "tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install 'g4compile[tensorrt-rtx]'"
    )


@pytest.fixture(scope="session")
def emit(trt, traced, checkpoints) -> Callable[..., SimpleNamespace]:
    """The networks of all steps of a variant, and what to make a session of them with. Tests must not change them."""
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))

    @functools.cache
    def make(variant: str, capacities: Capacities = CAPACITIES, **options) -> SimpleNamespace:
        facts = checkpoints(variant).facts
        ring = capacities.ring(facts.text)
        model = traced(variant)
        pipeline.run(model, frontend(facts.text, 0, ring=ring))
        networks: dict[str, list[StepNetwork]] = {
            step.name: [step_network(trt, builder, model, "tensorrt-rtx", facts.text, step, capacities, **options)]
            for step in steps(capacities, "dense")
        }

        def session(exact: bool) -> NetworkSession:
            return NetworkSession(trt, networks, checkpoints(variant), ring, capacities.chunk, exact)

        return SimpleNamespace(builder=builder, networks=networks, session=session)

    return make
