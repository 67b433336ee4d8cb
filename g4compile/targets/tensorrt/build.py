"""From a legal graph to a network, and from a network to a plan; a builder's complaints as errors of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from g4compile.errors import MachineError
from g4compile.targets.tensorrt.edition import Edition
from g4compile.targets.tensorrt.gpu import gpu_capability
from g4compile.targets.tensorrt.network.emitter import Emitter
from g4compile.targets.tensorrt.network.layers import LAYERS
from g4compile.targets.tensorrt.network.plugin_layers import PLUGIN_LAYERS
from g4compile.targets.tensorrt.refusal import OTHERS, Refusal
from g4compile.targets.tensorrt.steps import Sizes

# Since 10.13 the kernels of each architecture are a library of their own, which the PyPI packages do not hold.
_WHOLE = (
    "install all of TensorRT's own libraries, of one version: libnvinfer_builder_resource_smNN of this GPU is one, and "
    "NVIDIA's packages alone have it; and see that the GPU's driver is new enough. `g4compile doctor` tries again"
)


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

    ``trt``: its Python bindings. ``plugins``: what makes plugin layers of our kernels, of an edition that has them.
    Networks must not outlive it. Raises MachineError when no builder can be made here.
    """

    def __init__(self, edition: Edition, trt: Any = None, plugins: Any = None) -> None:
        self.edition, self.trt = edition, edition.load() if trt is None else trt
        self.plugins = plugins
        self._complaints: list[str] = []
        self.builder = self._made_builder()

    def network(self, graph: ir.Graph) -> EmittedNetwork:
        """The network of a legal ``graph`` that reads no token ids. Raises Refusal, with TensorRT's own words, for a
        layer that it does not take."""
        # The flag is the default in releases that have dropped weak typing, and the only form that is emitted.
        network = self.builder.create_network(1 << int(self.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        emitter = Emitter(self.trt, network, self.plugins)
        self._complaints.clear()
        try:
            emitter.emit(graph, LAYERS if self.plugins is None else {**LAYERS, **PLUGIN_LAYERS})
        except Refusal as refusal:
            raise Refusal(refusal.what, where=refusal.where, why=self._words(), fix=OTHERS) from refusal
        return EmittedNetwork(graph, network, emitter.weights, emitter.constants)

    def plan(
        self, emitted: EmittedNetwork, name: str, profiles: Sequence[Sizes], capabilities: Sequence[int] = ()
    ) -> bytes:
        """The serialized engine of the network ``name``, for GPUs of these compute ``capabilities``, where the edition
        must be told. ``profiles``: what its dynamic sizes may be, together.

        Raises Refusal, with the builder's own words, when it gives none.
        """
        self._complaints.clear()
        config = self.builder.create_builder_config()
        if self.edition.capabilities:
            config.set_flag(self.trt.BuilderFlag.REQUIRE_USER_ALLOCATION)  # else its runs cannot be captured
            config.num_compute_capabilities = len(capabilities)
            for index, capability in enumerate(capabilities):
                config.set_compute_capability(getattr(self.trt.ComputeCapability, f"SM{capability}"), index)
        dynamic = [value for value in emitted.graph.inputs if not all(isinstance(size, int) for size in _sizes(value))]
        for sizes in profiles if dynamic else ():
            profile = self.builder.create_optimization_profile()
            for value in dynamic:
                profile.set_shape(str(value.name), *_shapes(value, sizes))
            if config.add_optimization_profile(profile) < 0:
                raise self._refusal(name, "it does not take the optimisation profile")
        try:
            plan = self.builder.build_serialized_network(emitted.network, config)
        except Exception as error:  # whatever the bindings make of what the library throws
            raise self._refusal(name, str(error)) from error
        if plan is None:
            raise self._refusal(name)
        return bytes(plan)

    def _refusal(self, name: str, thrown: str = "") -> Refusal:
        return Refusal(
            f"{self.edition.name} {self.trt.__version__} does not build the {name} network",
            why=self._words(thrown),
            fix=OTHERS,
        )

    def _words(self, thrown: str = "") -> str:
        """What TensorRT said: the first complaint, which the others follow from, and what it threw."""
        said = [*self._complaints[:1], *([thrown] if thrown else [])]
        return "; ".join(dict.fromkeys(said)) or "it gave no reason"

    def _made_builder(self) -> Any:
        """The bindings raise TypeError where the library gives no builder, and the logger alone is told why."""
        logger, thrown = self._logger(), ""
        try:
            builder = self.trt.Builder(logger)
        except (TypeError, RuntimeError) as error:
            builder, thrown = None, str(error)
        if builder is None:
            raise MachineError(
                f"{self.edition.name} {self.trt.__version__} makes no builder here",
                why=self._words(thrown),
                fix=_WHOLE,
            )
        return builder

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


def _sizes(value: ir.Value) -> list[int | str]:
    return [size if isinstance(size, int) else str(size) for size in value.shape or ()]


def _shapes(value: ir.Value, sizes: Sizes) -> list[tuple[int, ...]]:
    """Least, usual and most shape of an input."""
    return [
        tuple(size if isinstance(size, int) else sizes[size][index] for size in _sizes(value)) for index in range(3)
    ]
