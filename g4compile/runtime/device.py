"""The few calls of CUDA that a session makes, through `cuda-python`: memory, copies, one stream, graphs of its own.

Nothing here was run against TensorRT: tests put a device of host memory in its place.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import numpy as np

from g4compile.errors import MachineError

Array = np.ndarray[Any, Any]
_PACKAGE = "cuda-python"


@dataclass(frozen=True)
class Gpu:
    """``capability``: major and minor compute capability. ``shared``: most bytes of shared memory that a block may
    take, when asked for. ``memory``: bytes."""

    name: str
    capability: tuple[int, int]
    shared: int
    memory: int

    @property
    def sm(self) -> int:
        """89 for the compute capability 8.9."""
        return 10 * self.capability[0] + self.capability[1]


class DeviceMemory(msgspec.Struct, frozen=True):
    """Bytes of a GPU that a session holds. ``kv_bytes``: allotted for keys and values, whatever their length now.
    ``buffer_bytes``: inputs, logits. ``other_bytes``: what else became occupied since the session was opened: values
    between nodes, loaded kernels, libraries, and what other processes took meanwhile. ``free_bytes``: of the GPU."""

    weight_bytes: int
    kv_bytes: int
    buffer_bytes: int
    other_bytes: int
    free_bytes: int


class Device(Protocol):
    """Addresses are integers; copies and launches are in order, on ``stream``, and done after `synchronize`."""

    stream: int

    def gpu(self) -> Gpu: ...

    def free_memory(self) -> int:
        """Bytes of the GPU that no process holds."""
        ...

    def allocate(self, size: int) -> int: ...

    def free(self, address: int) -> None: ...

    def staging(self, size: int) -> Array:
        """uint8 [size] of host memory that the device reads and writes directly. It is there until `close`."""
        ...

    def upload(self, address: int, array: Array) -> None: ...

    def download(self, array: Array, address: int) -> None: ...

    def zero(self, address: int, size: int) -> None: ...

    def synchronize(self) -> None: ...

    def mark(self) -> None:
        """Note what was put on the stream until now."""
        ...

    def wait(self) -> None:
        """Wait for what the last `mark` has noted, and not for what came behind."""
        ...

    def capture(self, run: Callable[[], None]) -> int:
        """A graph of what ``run`` puts on the stream, which is not done. Whatever happens, the stream captures no more.
        Raises MachineError for what cannot be captured, and what ``run`` raises."""
        ...

    def launch(self, graph: int) -> None: ...

    def destroy(self, graph: int) -> None:
        """Give a graph back, which runs no more."""
        ...

    def close(self) -> None:
        """Give back all memory, all graphs and the stream. It is used no more."""
        ...


class Cuda:
    """A `Device` on the first GPU. ``what``, for the user, is run through it, and ``install`` is the command that
    brings cuda-python. Raises MachineError without cuda-python, a driver or a device."""

    def __init__(self, what: str = "TensorRT engines", install: str = "pip install 'g4compile[gpu]'") -> None:
        self._what = what
        try:
            from cuda.bindings import runtime
        except ImportError as error:
            raise MachineError(f"{what} are run through {_PACKAGE}, which is not installed", fix=install) from error
        self._runtime = runtime
        self._memory, self._pinned, self._graphs = set[int](), set[int](), set[int]()
        # Of a session that nobody closes.
        weakref.finalize(self, _free, runtime, self._graphs, self._memory, self._pinned)
        self._call(runtime.cudaSetDevice, 0)  # what follows is on the first GPU, whatever another library has chosen
        # No work of the legacy default stream, which ONNX Runtime and TensorRT may use, holds up this one.
        self.stream = int(self._call(runtime.cudaStreamCreateWithFlags, runtime.cudaStreamNonBlocking))
        try:
            self._event = int(self._call(runtime.cudaEventCreateWithFlags, runtime.cudaEventDisableTiming))
        except MachineError:
            runtime.cudaStreamDestroy(self.stream)
            raise

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The result of a call, its error code checked; several as a tuple."""
        code, *results = function(*arguments)
        if int(code) != 0:
            _, text = self._runtime.cudaGetErrorString(code)
            words = text.decode() if isinstance(text, bytes) else str(text)
            lack = int(code) == int(self._runtime.cudaError_t.cudaErrorMemoryAllocation)
            raise MachineError(
                f"{function.__name__} failed: {words}",
                fix="give fewer or shorter sequences, or free memory of the GPU"
                if lack
                else f"{self._what} need an NVIDIA GPU and its driver; `g4compile doctor` says what is here",
            )
        return results[0] if len(results) == 1 else tuple(results)

    def gpu(self) -> Gpu:
        properties = self._call(self._runtime.cudaGetDeviceProperties, 0)
        return Gpu(
            properties.name.decode(),
            (int(properties.major), int(properties.minor)),
            int(properties.sharedMemPerBlockOptin),
            int(properties.totalGlobalMem),
        )

    def free_memory(self) -> int:
        free, _ = self._call(self._runtime.cudaMemGetInfo)
        return int(free)

    def allocate(self, size: int) -> int:
        address = int(self._call(self._runtime.cudaMalloc, size))
        self._memory.add(address)
        return address

    def free(self, address: int) -> None:
        self._call(self._runtime.cudaFree, address)
        self._memory.discard(address)

    def staging(self, size: int) -> Array:
        address = int(self._call(self._runtime.cudaMallocHost, size))
        self._pinned.add(address)
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))

    def upload(self, address: int, array: Array) -> None:
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call(self._runtime.cudaMemcpyAsync, address, array.ctypes.data, array.nbytes, kind, self.stream)

    def download(self, array: Array, address: int) -> None:
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call(self._runtime.cudaMemcpyAsync, array.ctypes.data, address, array.nbytes, kind, self.stream)

    def zero(self, address: int, size: int) -> None:
        self._call(self._runtime.cudaMemsetAsync, address, 0, size, self.stream)

    def synchronize(self) -> None:
        self._call(self._runtime.cudaStreamSynchronize, self.stream)

    def mark(self) -> None:
        self._call(self._runtime.cudaEventRecord, self._event, self.stream)

    def wait(self) -> None:
        self._call(self._runtime.cudaEventSynchronize, self._event)

    def capture(self, run: Callable[[], None]) -> int:
        runtime = self._runtime
        mode = runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call(runtime.cudaStreamBeginCapture, self.stream, mode)
        try:
            run()
        except BaseException:  # an interrupt too
            code, graph = runtime.cudaStreamEndCapture(self.stream)
            if int(code) == 0:
                runtime.cudaGraphDestroy(graph)
            runtime.cudaGetLastError()  # else the next call tells of it
            raise
        try:
            graph = self._call(runtime.cudaStreamEndCapture, self.stream)
        except MachineError:
            runtime.cudaGetLastError()
            raise
        try:
            found = int(self._call(runtime.cudaGraphInstantiate, graph, 0))
        finally:
            runtime.cudaGraphDestroy(graph)
        self._graphs.add(found)
        return found

    def launch(self, graph: int) -> None:
        self._call(self._runtime.cudaGraphLaunch, graph, self.stream)

    def destroy(self, graph: int) -> None:
        self._graphs.discard(graph)
        self._call(self._runtime.cudaGraphExecDestroy, graph)

    def close(self) -> None:
        """Behind an error too: of a driver that says no, nothing is left to give, and the rest is given."""
        if self.stream:
            self._runtime.cudaStreamSynchronize(self.stream)
        _free(self._runtime, self._graphs, self._memory, self._pinned)
        if self.stream:
            self._runtime.cudaEventDestroy(self._event)
            self._runtime.cudaStreamDestroy(self.stream)
            self.stream = 0


def _free(runtime: Any, graphs: set[int], memory: set[int], pinned: set[int]) -> None:
    """Give graphs and memory back; of a driver that says no, nothing is left to give."""
    for graph in graphs:
        runtime.cudaGraphExecDestroy(graph)
    for address in memory:
        runtime.cudaFree(address)
    for address in pinned:
        runtime.cudaFreeHost(address)
    for held in (graphs, memory, pinned):
        held.clear()
