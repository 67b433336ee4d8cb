"""The few calls of CUDA that a session makes, through `cuda-python`: memory, copies, one stream, graphs.

Nothing here was run against TensorRT: tests put a device of host memory in its place.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from g4compile.errors import MachineError

Array = np.ndarray[Any, Any]
_INSTALL = "pip install 'g4compile[gpu]'"


class Device(Protocol):
    """Addresses are integers; copies and launches are in order, on ``stream``, and done after `synchronize`."""

    stream: int

    def allocate(self, size: int) -> int: ...

    def free(self, address: int) -> None: ...

    def staging(self, size: int) -> Array:
        """uint8 [size] of host memory that the device reads directly."""
        ...

    def upload(self, address: int, array: Array) -> None: ...

    def download(self, array: Array, address: int) -> None: ...

    def zero(self, address: int, size: int) -> None: ...

    def synchronize(self) -> None: ...

    def capture(self, run: Callable[[], None]) -> int:
        """A graph of what ``run`` puts on the stream."""
        ...

    def launch(self, graph: int) -> None: ...


class Cuda:
    """A `Device` on the first GPU. Raises MachineError without cuda-python, a driver or a device."""

    def __init__(self) -> None:
        try:
            from cuda.bindings import runtime
        except ImportError as error:
            raise MachineError(
                "TensorRT engines are run through cuda-python, which is not installed", fix=_INSTALL
            ) from error
        self._runtime = runtime
        self.stream = int(self._call(runtime.cudaStreamCreate))

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The result of a call, its error code checked."""
        code, *results = function(*arguments)
        if int(code) != 0:
            _, text = self._runtime.cudaGetErrorString(code)
            words = text.decode() if isinstance(text, bytes) else str(text)
            raise MachineError(
                f"{function.__name__} failed: {words}", fix="TensorRT engines need an NVIDIA GPU and its driver"
            )
        return results[0] if results else None

    def allocate(self, size: int) -> int:
        return int(self._call(self._runtime.cudaMalloc, size))

    def free(self, address: int) -> None:
        self._call(self._runtime.cudaFree, address)

    def staging(self, size: int) -> Array:
        address = int(self._call(self._runtime.cudaMallocHost, size))
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

    def capture(self, run: Callable[[], None]) -> int:
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call(self._runtime.cudaStreamBeginCapture, self.stream, mode)
        run()
        graph = self._call(self._runtime.cudaStreamEndCapture, self.stream)
        return int(self._call(self._runtime.cudaGraphInstantiate, graph, 0))

    def launch(self, graph: int) -> None:
        self._call(self._runtime.cudaGraphLaunch, graph, self.stream)
