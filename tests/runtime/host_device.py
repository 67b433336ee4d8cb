"""A device of host memory, which may do what is asked of it as late as CUDA may, and may fail."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from g4compile.errors import MachineError
from g4compile.runtime.device import Gpu

DTYPES = {"BF16": ml_dtypes.bfloat16, "FLOAT": np.float32, "INT64": np.int64}


class HostDevice:
    """A `Device` whose memory is arrays, by address. ``size``: bytes that it has. ``fails``: what raises, by the name
    of a method, after so many calls that do not: {"allocate": (3, error)}."""

    def __init__(self, size=1 << 40, gpu=None, fails=None):
        self.memory, self.graphs, self.launched, self._next = {}, {}, 0, 4096
        self.stream, self.size, self._gpu = 7, size, gpu or Gpu("a host", (9, 0), 227 << 10, size)
        self.capturing, self.captured, self.fails, self._calls = False, 0, fails or {}, {}

    def _call(self, name):
        assert self.stream, "closed"
        count = self._calls[name] = self._calls.get(name, 0) + 1
        if name in self.fails and count > self.fails[name][0]:
            raise self.fails[name][1]

    def gpu(self):
        return self._gpu

    def free_memory(self):
        return self.size - sum(array.nbytes for array in self.memory.values())

    def allocate(self, size):
        self._call("allocate")
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
        self._call("staging")
        return np.full(size, 0xAB, np.uint8)

    def upload(self, address, array):
        self._call("upload")
        self.at(address, array.nbytes)[:] = array.reshape(-1).view(np.uint8)

    def download(self, array, address):
        self._call("download")
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
        assert self.stream, "closed"
        if self.capturing:
            self._captured.append(work)  # noted, and not run: as CUDA does
        else:
            work()

    def capture(self, run):
        self.capturing, self._captured = True, []
        try:
            run()
            self._call("capture")
            self.captured += 1
            self.graphs[self.captured] = self._captured
        finally:
            self.capturing, self._captured = False, None
        return self.captured

    def launch(self, graph):
        self._call("launch")
        assert not self.capturing
        self.launched += 1
        for work in self.graphs[graph]:
            self.run(work)

    def destroy(self, graph):
        self._call("destroy")
        del self.graphs[graph]

    def close(self):
        assert not self.capturing
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
        (self._captured if self.capturing else self._queue).append(work)

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
