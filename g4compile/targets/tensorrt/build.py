"""From a legal graph to a network, and from a network to a plan; a builder's complaints as errors of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from g4compile.errors import Defect
from g4compile.targets.tensorrt.edition import Edition, gpu_capability
from g4compile.targets.tensorrt.network.emitter import Emitter
from g4compile.targets.tensorrt.network.layers import LAYERS
from g4compile.targets.tensorrt.network.plugin_layers import PLUGIN_LAYERS
from g4compile.targets.tensorrt.options import EngineOptions
from g4compile.targets.tensorrt.steps import Step


@dataclass(frozen=True)
class EmittedNetwork:
    """The ``network`` of ``graph``; the ``weights`` that it takes as inputs, and the data of its ``constants``, both
    by name."""

    graph: ir.Graph
    network: Any
    weights: Mapping[str, ir.TensorProtocol]
    constants: Mapping[str, np.ndarray[Any, Any]]


class EngineBuilder:
    """A builder of ``edition``: networks of legal graphs, and plans of networks.

    ``trt``: its Python bindings. ``plugins``: the module that makes plugin layers with our kernels registered, of an
    edition that has them. Networks must not outlive it.
    """

    def __init__(self, edition: Edition, trt: Any = None, plugins: Any = None) -> None:
        self.edition, self.trt = edition, edition.load() if trt is None else trt
        self.plugins = plugins
        self._complaints: list[str] = []
        self.builder = self.trt.Builder(self._logger())

    def network(self, graph: ir.Graph) -> EmittedNetwork:
        """The network of a legal ``graph`` that reads no token ids."""
        # The flag is the default in releases that have dropped weak typing, and the only form that is emitted.
        network = self.builder.create_network(1 << int(self.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        emitter = Emitter(self.trt, network, self.plugins)
        emitter.emit(graph, LAYERS if self.plugins is None else {**LAYERS, **PLUGIN_LAYERS})
        return EmittedNetwork(graph, network, emitter.weights, emitter.constants)

    def plan(self, network: Any, step: Step, options: EngineOptions) -> bytes:
        """The serialized engine of ``step``. Raises Defect with the builder's own words when it refuses."""
        config = self.builder.create_builder_config()
        if self.edition.capabilities:
            config.num_compute_capabilities = len(options.compute_capabilities)
            for index, capability in enumerate(options.compute_capabilities):
                config.set_compute_capability(getattr(self.trt.ComputeCapability, f"SM{capability}"), index)
        sizes = _dynamic(network, step, options.batch)
        if sizes:
            profile = self.builder.create_optimization_profile()
            for name, shapes in sizes.items():
                profile.set_shape(name, *shapes)
            config.add_optimization_profile(profile)
        self._complaints.clear()
        plan = self.builder.build_serialized_network(network, config)
        if plan is None:
            raise Defect(
                f"{self.edition.name} could not build the {step.name} step",
                why=self._complaints[0] if self._complaints else "its builder gave no reason",
                fix="this is a defect of g4compile: please report it with the model's config.json",
            )
        return bytes(plan)

    def _logger(self) -> Any:
        trt, complaints = self.trt, self._complaints
        # Without a GPU every call says that there is no driver, which is no complaint about the network.
        expected = "CUDA driver" if gpu_capability() is None else None

        class Log(trt.ILogger):  # type: ignore[misc,name-defined]  # a class of whichever module
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                if severity <= trt.ILogger.ERROR and not (expected and expected in message):
                    complaints.append(message)

        return Log()


def _dynamic(network: Any, step: Step, batch: int) -> dict[str, list[tuple[int, ...]]]:
    """Least, usual and most shape of every input that has a dynamic size: the batch first, tokens behind it."""
    batches = (1, 1, batch)
    found = {}
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        declared = tuple(tensor.shape)
        if -1 not in declared:
            continue
        shapes = []
        for sequences, tokens in zip(batches, step.tokens, strict=True):
            sizes = [sequences if axis == 0 else tokens for axis in range(len(declared))]
            shapes.append(tuple(size if wanted == -1 else wanted for wanted, size in zip(declared, sizes, strict=True)))
        found[str(tensor.name)] = shapes
    return found
