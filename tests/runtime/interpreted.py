"""A TensorRT whose engines are networks interpreted on the CPU, on a device of host memory.

It has what sessions use and no more, by the names of the bindings: `test_engine_calls.py` asks these for each.
"""

from __future__ import annotations

import weakref
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import torch

from g4compile.runtime.feeds import PRESENT, past_of
from g4compile.targets.tensorrt.interpreter.interpreter import Interpreter

DTYPES = {"BF16": ml_dtypes.bfloat16, "FLOAT": np.float32, "INT32": np.int32, "INT64": np.int64}
WORK = 1000  # bytes that a context works in


class IExecutionContext:
    """Of an ``engine``: reads and writes the device by the addresses it was given."""

    def __init__(self, engine):
        self._engine, self._device, self._addresses, self._shapes = engine, engine._device, {}, {}
        self._profile, self._work, self._runs = 0, None, 0
        engine._contexts.append(weakref.ref(self))

    def set_device_memory(self, memory, size):
        assert memory % 256 == 0 and size >= WORK
        self._device.at(memory, size)
        self._work = memory

    def set_tensor_address(self, name, address):
        assert address % 256 == 0, name
        self._addresses[name] = address
        return name in self._engine._tensors

    def set_optimization_profile_async(self, index, stream):
        assert stream == self._device.stream and index != self._profile
        self._profile, self._shapes = index, {}
        return index < self._engine._profiles

    def set_input_shape(self, name, shape):
        assert not self._device.capturing and not (self._runs and self._engine._fixed), "plugins leak then"
        self._shapes[name] = shape
        return True

    def is_stream_capturable(self, stream):
        assert stream == self._device.stream
        return self._engine._capturable

    def execute_async_v3(self, stream):
        assert stream == self._device.stream and self._work in self._device.memory
        assert self._runs or not self._device.capturing, "TensorRT wants a run before a capture"
        self._runs += 1
        self._device.run(self._run)
        return True

    def _run(self):
        engine, feeds = self._engine, {}
        for tensor in engine._inputs:
            shape = self._shapes.get(tensor.name, tuple(tensor.shape))
            assert -1 not in shape, tensor.name
            if tensor.dtype.name == "INT4":  # two in a byte, the first in its low half
                data = self._device.at(self._addresses[tensor.name], int(np.prod(shape)) // 2).view(np.int8)
                feeds[tensor.name] = torch.from_numpy(np.stack([data << 4 >> 4, data >> 4], -1).reshape(shape))
                continue
            dtype = np.dtype(DTYPES[tensor.dtype.name])
            size = int(np.prod(shape)) * dtype.itemsize
            array = self._device.at(self._addresses[tensor.name], size).view(dtype).reshape(shape)
            feeds[tensor.name] = torch.from_numpy(
                array.astype(np.float32) if dtype == ml_dtypes.bfloat16 else array.copy()
            )
        (found,) = engine._interpreter.run([feeds])
        for tensor in engine._outputs:
            array = found[tensor.name].float().numpy().astype(DTYPES[tensor.dtype.name])
            made = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            self._device.at(self._addresses[tensor.name], made.nbytes)[:] = made


class ICudaEngine:
    """Of one emitted network; with ``profiles`` of a part that has some."""

    def __init__(self, trt, one, device, profiles, changes):
        network = one.network
        self._device, self._profiles, self._changes, self._contexts = device, profiles or 1, changes, []
        self._fixed = profiles is None
        self._inputs = [network.get_input(i) for i in range(network.num_inputs)]
        self._outputs = [network.get_output(i) for i in range(network.num_outputs)]
        self._tensors = [tensor.name for tensor in (*self._inputs, *self._outputs)]
        self._interpreter = Interpreter(trt, [network], [one.constants], exact=False)
        self._capturable = changes.get("capturable", True)
        self.num_io_tensors, self.device_memory_size_v2 = len(self._tensors), WORK

    def get_tensor_name(self, index):
        return self._tensors[index]

    def get_aliased_input_tensor(self, name):
        return self._changes.get("aliases", {}).get(name, past_of(name) if name.startswith(PRESENT) else None)

    def create_runtime_config(self):
        return IRuntimeConfig(self._changes)

    def create_execution_context(self, how):
        strategy = how._strategy if isinstance(how, IRuntimeConfig) else how
        assert strategy.name == "USER_MANAGED"
        return None if self._changes.get("contexts", True) is False else IExecutionContext(self)


class IRuntimeCache:
    """``changes``: may say what `deserialize` answers."""

    def __init__(self, changes):
        self._data, self._changes = b"compiled", changes

    def serialize(self):
        return self._data

    def deserialize(self, data):
        return self._changes.get("cached", data == self._data)


class IRuntimeConfig:
    def __init__(self, changes):
        self._changes, self._strategy, self.cuda_graph_strategy = changes, None, None
        self.dynamic_shapes_kernel_specialization_strategy = None

    def set_execution_context_allocation_strategy(self, strategy):
        self._strategy = strategy

    def create_runtime_cache(self):
        return IRuntimeCache(self._changes)

    def set_runtime_cache(self, cache):
        assert isinstance(cache, IRuntimeCache) and self.cuda_graph_strategy.name == "DISABLED"
        return True


FAKES = (IExecutionContext, ICudaEngine, IRuntimeCache, IRuntimeConfig)


def interpreted(trt, bundle, networks, device, **changes):
    """What a session uses of TensorRT's module, for the plans of ``bundle``. ``networks``: by graph; those of parts
    with profiles take as many as the manifest lists. ``changes``: what is otherwise than it should be. ``alive``: how
    many engines and contexts there are."""
    plans = {bundle.graph_path(name).read_bytes(): name for name in bundle.manifest.graphs}
    profiles = {encoder.part: len(encoder.profiles) for encoder in bundle.manifest.engine.encoders}
    engines = []

    class Runtime:
        def __init__(self, logger):
            pass

        def deserialize_cuda_engine(self, plan):
            name = plans[plan]
            if name in changes.get("refused", ()):
                return None
            found = ICudaEngine(trt, networks[name], device, profiles.get(name), changes)
            engines.append(weakref.ref(found))
            return found

    def alive():
        found = [engine for engine in (one() for one in engines) if engine is not None]
        return len(found) + sum(context() is not None for engine in found for context in engine._contexts)

    names = (
        "Logger", "ExecutionContextAllocationStrategy", "DynamicShapesKernelSpecializationStrategy",
        "CudaGraphStrategy",
    )  # fmt: skip
    return SimpleNamespace(Runtime=Runtime, alive=alive, **{name: getattr(trt, name) for name in names})
