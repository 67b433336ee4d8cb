"""From a network to a plan: optimization profile, GPUs, and the builder's complaints as errors of ours."""

from __future__ import annotations

from typing import Any

from g4compile.errors import Defect
from g4compile.targets.tensorrt.product import Product, gpu_capability
from g4compile.targets.tensorrt.steps import Capacities, Step


def make_builder(trt: Any) -> tuple[Any, list[str]]:
    """A builder, and the list in which its errors are collected."""
    complaints: list[str] = []
    # Without a GPU every call says that there is no driver, which is no complaint about the network.
    expected = "CUDA driver" if gpu_capability() is None else None

    class Log(trt.ILogger):  # type: ignore[misc]  # a class of whichever module
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.ERROR and not (expected and expected in message):
                complaints.append(message)

    return trt.Builder(Log()), complaints


def build_plan(
    trt: Any,
    builder: Any,
    complaints: list[str],
    network: Any,
    product: Product,
    step: Step,
    capacities: Capacities,
    compute_capabilities: tuple[int, ...],
) -> bytes:
    """The serialized engine of ``step``. Raises Defect with the builder's own words when it refuses."""
    config = builder.create_builder_config()
    if product.capabilities:
        config.num_compute_capabilities = len(compute_capabilities)
        for index, capability in enumerate(compute_capabilities):
            config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{capability}"), index)
    sizes = _dynamic(network, step, capacities)
    if sizes:
        profile = builder.create_optimization_profile()
        for name, shapes in sizes.items():
            profile.set_shape(name, *shapes)
        config.add_optimization_profile(profile)
    complaints.clear()
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise Defect(
            f"{product.name} could not build the {step.name} step",
            why=complaints[0] if complaints else "its builder gave no reason",
            fix="this is a defect of g4compile: please report it with the model's config.json",
        )
    return bytes(plan)


def _dynamic(network: Any, step: Step, capacities: Capacities) -> dict[str, list[tuple[int, ...]]]:
    """Least, usual and most shape of every input that has a dynamic size: the batch first, tokens behind it."""
    batches = (1, 1, capacities.batch)
    found = {}
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        declared = tuple(tensor.shape)
        if -1 not in declared:
            continue
        shapes = []
        for batch, tokens in zip(batches, step.tokens, strict=True):
            sizes = [batch if axis == 0 else tokens for axis in range(len(declared))]
            shapes.append(tuple(size if wanted == -1 else wanted for wanted, size in zip(declared, sizes, strict=True)))
        found[str(tensor.name)] = shapes
    return found
