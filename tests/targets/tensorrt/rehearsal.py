"""What stands in for TensorRT in a rehearsal of `benchmarks/gpu/first_run.py`: networks are TensorRT-RTX's, plans are
interpreted on the CPU, and the device is host memory.

`G4_REHEARSAL` says what goes wrong where: `RUNG=refuse`, a builder that gives no plan and says why; `RUNG=crash`, a
process that ends in the middle of a build; `RUNG=hang`, a build that never ends. Commas stand between.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from typing import Any
from unittest import mock

from g4compile.runtime import engine
from g4compile.targets.tensorrt import edition
from g4compile.targets.tensorrt.build import EmittedNetwork, EngineBuilder
from g4compile.targets.tensorrt.interpreter.plugged import PluggedBuilder, stand_in
from tests.runtime.host_device import HostDevice
from tests.runtime.interpreted import ICudaEngine
from tests.targets.tensorrt.refusing import FOURTH

WRONG = "G4_REHEARSAL"


class _Rehearsed:
    """TensorRT's module ``trt``, whose builder gives the number of a network in the place of its plan. ``wrong``: what
    happens instead."""

    def __init__(self, trt: Any, wrong: str | None) -> None:
        self._trt, self._wrong, self.__version__ = trt, wrong, "11.1.0.106"
        self.device: HostDevice | None = None  # where what is loaded next runs
        self.emitted: dict[int, EmittedNetwork] = {}  # by the network's identity
        self.plans: list[EmittedNetwork] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trt, name)

    def Builder(self, logger: Any) -> Any:
        module, trt, wrong = self, self._trt, self._wrong

        class Builder(PluggedBuilder):
            def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
                if wrong == "crash":
                    os._exit(11)
                if wrong == "hang":
                    time.sleep(1 << 20)
                if wrong == "refuse":
                    logger.log(trt.ILogger.ERROR, FOURTH)
                    return None
                module.plans.append(module.emitted[id(network)])
                return b"plan %d" % (len(module.plans) - 1)

        return Builder(trt.Builder(logger))

    def Runtime(self, logger: Any) -> Any:
        module = self

        class Runtime:
            def deserialize_cuda_engine(self, plan: bytes) -> ICudaEngine:
                return ICudaEngine(module._trt, module.plans[int(plan.split()[1])], module.device, None, {})

        return Runtime()


def install() -> None:
    """Let everything here use it, in this process until it ends."""
    rung = sys.argv[sys.argv.index("--rung") + 1]
    wrong = dict(one.split("=") for one in os.environ.get(WRONG, "").split(",") if one)
    trt, whole = _Rehearsed(importlib.import_module("tensorrt_rtx"), wrong.get(rung)), EngineBuilder.network

    def device() -> HostDevice:
        trt.device = HostDevice()
        return trt.device

    def network(self: EngineBuilder, graph: Any) -> EmittedNetwork:
        made = whole(self, graph)
        trt.emitted[id(made.network)] = made
        return made

    for where, name, what in (
        (edition.Edition, "load", lambda self: trt),
        (edition.Edition, "load_plugins", lambda self: stand_in if self.plugins else None),
        (edition, "gpu_capability", lambda: 90),
        (EngineBuilder, "network", network),
        (engine, "Cuda", device),
        (engine, "_module", lambda product: trt),
    ):
        mock.patch.object(where, name, what).start()
