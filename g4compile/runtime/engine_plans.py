"""The plans of an engine bundle, loaded: an engine each, and contexts of it, which all share one piece of memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from g4compile.bundle.folder import Bundle
from g4compile.bundle.manifest import DECODER, EngineSpec
from g4compile.errors import MachineError
from g4compile.runtime.device import Device
from g4compile.runtime.device_memory import Memory
from g4compile.runtime.engine_contexts import MakeContext
from g4compile.runtime.feeds import PRESENT, past_of

DTYPES = {  # of inputs and outputs
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float": np.dtype(np.float32),
    "int64": np.dtype(np.int64),
}
_AGAIN = "compile again, with this TensorRT"


class Context:
    """Runs of the engine ``name`` on the stream of ``device``, by TensorRT's ``context``."""

    def __init__(self, name: str, context: Any, device: Device) -> None:
        self.name, self._context, self._device = name, context, device
        self._profile = 0  # that of a new context

    def set_address(self, tensor: str, address: int) -> None:
        """Where ``tensor`` lies from now on. Raises MachineError."""
        if not self._context.set_tensor_address(tensor, address):
            raise MachineError(f"the engine {self.name} does not take the tensor {tensor}", fix=_AGAIN)

    def take_profile(self, index: int) -> None:
        """Use the optimisation profile ``index``; all dynamic shapes must be set again. Raises MachineError."""
        if index == self._profile:
            return
        if not self._context.set_optimization_profile_async(index, self._device.stream):
            raise MachineError(f"the engine {self.name} does not take the profile {index}", fix=_AGAIN)
        self._profile = index

    def set_shape(self, tensor: str, shape: tuple[int, ...]) -> None:
        """The shape of a dynamic input for the next runs. Raises MachineError."""
        if not self._context.set_input_shape(tensor, shape):
            raise MachineError(f"the engine {self.name} does not take {tensor} of the shape {list(shape)}")

    @property
    def capturable(self) -> bool:
        """Whether its runs can be captured as a CUDA graph. Full TensorRT does not say so beforehand."""
        ask = getattr(self._context, "is_stream_capturable", None)
        return ask is None or bool(ask(self._device.stream))

    def run(self) -> None:
        """Put a run on the device's stream. Raises MachineError."""
        if not self._context.execute_async_v3(self._device.stream):
            raise MachineError(f"TensorRT could not run the engine {self.name}", fix="see TensorRT's own message above")

    def close(self) -> None:
        """Give TensorRT's context back, whoever still holds this one. It is used no more."""
        self._context = None


class Plan:
    """An ``engine`` named ``name``, and what makes contexts of it, on ``device``."""

    def __init__(self, name: str, engine: Any, device: Device, make: MakeContext) -> None:
        self.name, self._engine, self._device, self._make = name, engine, device, make
        self._contexts: list[Context] = []
        # By their list: TensorRT logs an error for each name that it is asked for and does not have.
        self.tensors = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        self.memory_bytes = int(engine.device_memory_size_v2)  # of values between layers, in any profile

    def check_aliases(self, outputs: Iterable[str]) -> None:
        """Raise MachineError unless each output that is a cache is the memory of its input: this runtime gives both one
        address, and an engine that reads the one and writes the other would compute with what it has half changed."""
        ask = getattr(self._engine, "get_aliased_input_tensor", None)
        for output in outputs:
            if not output.startswith(PRESENT):
                continue
            found = None if ask is None else ask(output)
            if found != past_of(output):
                raise MachineError(
                    f"the engine {self.name} does not update {past_of(output)} in place",
                    why=f"this TensorRT cannot say what {output} is the memory of"
                    if ask is None
                    else f"by the engine {output} is the memory of {found or 'no input'}",
                    fix=_AGAIN,
                )

    def context(self, memory: tuple[int, int]) -> Context:
        """A context that works in ``memory``: an address, and at least `memory_bytes` there, which no other run uses at
        the same time. Raises MachineError."""
        made = self._make(self._engine, self.name)
        if made is None:
            raise MachineError(
                f"TensorRT could not make a context of the engine {self.name}",
                why="see its own message above; it may lack memory",
                fix="free memory of the GPU",
            )
        made.set_device_memory(*memory)
        found = Context(self.name, made, self._device)
        self._contexts.append(found)
        return found

    def close(self) -> None:
        """Give the contexts back, then the engine. It is used no more."""
        for context in self._contexts:
            context.close()
        self._engine = None


class Plans(Mapping[str, Plan]):
    """The decoder's by the name of its step, those of other parts by the part; and the ``memory`` that all their
    contexts work in: address and bytes."""

    def __init__(self, plans: dict[str, Plan], held: Memory) -> None:
        self._plans = plans
        size = max(256, *(plan.memory_bytes for plan in plans.values()))
        self.memory = held.allocate(size), size

    def context(self, name: str) -> Context:
        """A new context of the plan ``name``. Raises MachineError."""
        return self._plans[name].context(self.memory)

    def close(self) -> None:
        """Give all engines and contexts back. They are used no more."""
        for plan in self._plans.values():
            plan.close()

    def __getitem__(self, name: str) -> Plan:
        return self._plans[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._plans)

    def __len__(self) -> int:
        return len(self._plans)


def open_plans(trt: Any, bundle: Bundle, spec: EngineSpec, device: Device, make: MakeContext, held: Memory) -> Plans:
    """Every plan of ``bundle``, its working memory in ``held``. Raises MachineError for one that this GPU, or this
    TensorRT (the module ``trt``), does not take."""
    try:
        runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
    except (TypeError, RuntimeError) as error:  # the bindings', where the library gives none
        raise MachineError(
            f"{spec.product} makes no runtime here", why=str(error), fix="`g4compile doctor` says what is missing"
        ) from error
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
        plans[name] = Plan(name, engine, device, make)
        plans[name].check_aliases(tensor.name for tensor in bundle.manifest.graphs[graph].outputs)
    return Plans(plans, held)
