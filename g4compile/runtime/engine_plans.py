"""The plans of an engine bundle, loaded: an engine and its context each."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from g4compile.bundle.folder import Bundle
from g4compile.bundle.manifest import DECODER, EngineSpec
from g4compile.errors import MachineError
from g4compile.runtime.device import Device

DTYPES = {  # of inputs and outputs
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float": np.dtype(np.float32),
    "int64": np.dtype(np.int64),
}


class Plan:
    """An ``engine`` named ``name``, and the one context it runs in, on ``device``."""

    def __init__(self, name: str, engine: Any, device: Device, absent: Any) -> None:
        self.name, self._device, self._absent = name, device, absent
        self._engine = engine  # must outlive its context
        self._context = engine.create_execution_context()
        self._profile = 0  # that of a new context

    def reads(self, weight: str) -> bool:
        """Whether ``weight`` is one of its inputs: not every plan asks for every weight."""
        return bool(self._engine.get_tensor_mode(weight) != self._absent)

    def set_address(self, tensor: str, address: int) -> None:
        """Where ``tensor`` lies from now on. Raises MachineError."""
        if not self._context.set_tensor_address(tensor, address):
            raise MachineError(
                f"the engine {self.name} does not take the tensor {tensor}", fix="compile again, with this TensorRT"
            )

    def take_profile(self, index: int) -> None:
        """Use the optimisation profile ``index``; all dynamic shapes must be set again. Raises MachineError."""
        if index == self._profile:
            return
        if not self._context.set_optimization_profile_async(index, self._device.stream):
            raise MachineError(
                f"the engine {self.name} does not take the profile {index}", fix="compile again, with this TensorRT"
            )
        self._profile = index

    def set_shape(self, tensor: str, shape: tuple[int, ...]) -> None:
        """The shape of a dynamic input for the next run. Raises MachineError."""
        if not self._context.set_input_shape(tensor, shape):
            raise MachineError(f"the engine {self.name} does not take {tensor} of the shape {list(shape)}")

    def run(self) -> None:
        """Put a run on the device's stream. Raises MachineError."""
        if not self._context.execute_async_v3(self._device.stream):
            raise MachineError(f"TensorRT could not run the engine {self.name}", fix="see TensorRT's own message above")


def open_plans(trt: Any, bundle: Bundle, spec: EngineSpec, device: Device) -> dict[str, Plan]:
    """Every plan of ``bundle``: the decoder's by the name of its step, those of other parts by the part. Raises
    MachineError for one that this GPU, or this TensorRT (the module ``trt``), does not take."""
    runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
    names = {step.name: bundle.manifest.graph(DECODER, step.name) for step in spec.steps}
    names |= {encoder.part: bundle.manifest.graph(encoder.part) for encoder in spec.encoders}
    plans = {}
    for name, graph in names.items():
        engine = runtime.deserialize_cuda_engine(bundle.graph_path(graph).read_bytes())
        if engine is None:
            gpus = ", ".join(f"sm{capability}" for capability in spec.compute_capabilities)
            raise MachineError(
                f"the engine {name} cannot be loaded on this GPU",
                why=f"it was built by {spec.product} {spec.version} for {gpus or 'the GPU of that machine'}",
                fix="compile for this GPU, with this TensorRT",
            )
        plans[name] = Plan(name, engine, device, trt.TensorIOMode.NONE)
    return plans
