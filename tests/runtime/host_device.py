"""A device of host memory, and a TensorRT whose engines are networks interpreted on the CPU."""

from __future__ import annotations

from types import SimpleNamespace

import ml_dtypes
import numpy as np
import torch

from g4compile.errors import MachineError
from g4compile.runtime.device import Gpu
from g4compile.targets.tensorrt.interpreter.interpreter import Interpreter

DTYPES = {"BF16": ml_dtypes.bfloat16, "FLOAT": np.float32, "INT64": np.int64}


class HostDevice:
    """A `Device` whose memory is arrays, by address. ``size``: bytes that it has."""

    def __init__(self, size=1 << 40, gpu=None):
        self.memory, self.graphs, self.launched, self._next = {}, [], 0, 4096
        self.stream, self.size, self._gpu = 7, size, gpu or Gpu("a host", (9, 0), 227 << 10, size)

    def gpu(self):
        return self._gpu

    def free_memory(self):
        return self.size - sum(array.nbytes for array in self.memory.values())

    def allocate(self, size):
        if size > self.free_memory():
            raise MachineError("cudaMalloc failed: out of memory")
        address, self._next = self._next, self._next + size + -size % 256
        self.memory[address] = np.full(size, 0xAB, np.uint8)  # as it comes
        return address

    def free(self, address):
        del self.memory[address]

    def at(self, address, size):
        """uint8 [size] of what lies at ``address``, anywhere in a piece that was allocated."""
        base = max(start for start in self.memory if start <= address)
        found = self.memory[base][address - base :][:size]
        assert found.nbytes == size, f"{size} bytes at {address} reach behind the piece at {base}"
        return found

    def staging(self, size):
        return np.empty(size, np.uint8)

    def upload(self, address, array):
        self.at(address, array.nbytes)[:] = array.reshape(-1).view(np.uint8)

    def download(self, array, address):
        array.reshape(-1).view(np.uint8)[:] = self.at(address, array.nbytes)

    def zero(self, address, size):
        self.at(address, size)[:] = 0

    def synchronize(self):
        assert self.stream, "closed"

    def mark(self):
        pass

    def wait(self):
        self.synchronize()

    def run(self, work):
        """Put ``work`` on the stream."""
        work()

    def capture(self, run):
        self.graphs.append(run)  # noted, and not run: as CUDA does
        return len(self.graphs) - 1

    def launch(self, graph):
        self.launched += 1
        self.graphs[graph]()

    def close(self):
        self.memory.clear()
        self.graphs.clear()
        self.stream = 0


class LateDevice(HostDevice):
    """One whose stream does nothing before it is waited for, as late as CUDA may: what is read or written too early
    shows."""

    def __init__(self, *given, **named):
        super().__init__(*given, **named)
        self._queue, self._done, self._mark, self._staged = [], 0, 0, []

    def staging(self, size):
        found = super().staging(size)
        self._staged.append(found)
        return found

    def run(self, work):
        self._queue.append(work)

    def upload(self, address, array):
        late = any(np.shares_memory(array, staged) for staged in self._staged)  # others are copied at once
        given = array if late else array.copy()
        self.run(lambda: HostDevice.upload(self, address, given))

    def download(self, array, address):
        self.run(lambda: HostDevice.download(self, array, address))

    def zero(self, address, size):
        self.run(lambda: HostDevice.zero(self, address, size))

    def synchronize(self):
        super().synchronize()
        self._until(len(self._queue))

    def mark(self):
        self._mark = len(self._queue)

    def wait(self):
        self._until(self._mark)

    def _until(self, count):
        while self._done < count:
            self._done += 1
            self._queue[self._done - 1]()


class Context:
    """An execution context over one emitted network: reads and writes the device by the addresses it was given."""

    def __init__(self, trt, one, device, profiles):
        self._one, self._device, self.addresses, self.shapes = one, device, {}, {}
        self.profile, self._profiles = 0, profiles
        self._interpreter = Interpreter(trt, [one.network], [one.constants], exact=False)
        network = one.network
        self._inputs = [network.get_input(i) for i in range(network.num_inputs)]
        self._outputs = [network.get_output(i) for i in range(network.num_outputs)]

    def set_tensor_address(self, name, address):
        known = name in {tensor.name for tensor in (*self._inputs, *self._outputs)}
        self.addresses[name] = address
        return known

    def set_optimization_profile_async(self, index, stream):
        assert stream == self._device.stream and index != self.profile
        self.profile, self.shapes = index, {}
        return index < self._profiles

    def set_input_shape(self, name, shape):
        self.shapes[name] = shape
        return True

    def execute_async_v3(self, stream):
        assert stream == self._device.stream
        feeds = {}
        for tensor in self._inputs:
            shape = self.shapes.get(tensor.name, tuple(tensor.shape))
            dtype = np.dtype(DTYPES[tensor.dtype.name])
            data = self._device.memory[self.addresses[tensor.name]][: int(np.prod(shape)) * dtype.itemsize]
            array = data.view(dtype).reshape(shape)
            feeds[tensor.name] = torch.from_numpy(
                array.astype(np.float32) if dtype == ml_dtypes.bfloat16 else array.copy()
            )
        (found,) = self._interpreter.run([feeds])
        for tensor in self._outputs:
            array = found[tensor.name].float().numpy().astype(DTYPES[tensor.dtype.name])
            self._device.upload(self.addresses[tensor.name], np.ascontiguousarray(array))
        return True


def interpreted(trt, bundle, networks, device):
    """What a session uses of TensorRT's module, for the plans of ``bundle``. ``networks``: by graph; those of parts
    with profiles take as many as the manifest lists."""
    plans = {bundle.graph_path(name).read_bytes(): name for name in bundle.manifest.graphs}
    profiles = {encoder.part: len(encoder.profiles) for encoder in bundle.manifest.engine.encoders}

    class Runtime:
        def __init__(self, logger):
            pass

        def deserialize_cuda_engine(self, plan):
            name = plans[plan]
            one = networks[name]
            names = {one.network.get_input(i).name for i in range(one.network.num_inputs)}
            return SimpleNamespace(
                create_execution_context=lambda: Context(trt, one, device, profiles.get(name, 1)),
                get_tensor_mode=lambda name: trt.TensorIOMode.INPUT if name in names else trt.TensorIOMode.NONE,
            )

    return SimpleNamespace(Runtime=Runtime, Logger=trt.Logger, TensorIOMode=trt.TensorIOMode)
