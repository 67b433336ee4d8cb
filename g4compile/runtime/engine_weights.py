"""The weights of an engine bundle on the device: each once, whichever plans read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from g4compile.bundle.manifest import DATA, WeightSpec
from g4compile.bundle.weight_codes import parse_steps
from g4compile.bundle.weight_steps import prepare
from g4compile.errors import CheckpointError
from g4compile.runtime.device_memory import Memory
from g4compile.runtime.tensor_files import TensorFiles

Array = np.ndarray[Any, Any]


class Weights:
    """Copies weights into ``memory``. ``folder``: of the bundle. ``files``: of the checkpoint. ``staging``: uint8 of
    host memory that the device reads directly."""

    def __init__(self, folder: Path, files: TensorFiles, memory: Memory, staging: Array) -> None:
        self._folder, self._files, self._memory, self._staging = folder, files, memory, staging

    def bind(self, weight: WeightSpec) -> int:
        """The address of ``weight``, in the dtype that the engines want. Raises CheckpointError, MachineError."""
        if weight.offset is not None:
            data = np.memmap(self._folder / DATA, np.uint8, "r", offset=weight.offset, shape=(weight.bytes,))
            return self._send(np.asarray(data))
        array = prepare(self._files.read(weight.key), weight.dtype, parse_steps(weight.steps))
        if array.shape != weight.shape:
            raise CheckpointError(
                f"tensor {weight.key} has the shape {list(array.shape)}, "
                f"the engine was compiled for {list(weight.shape)}",
                where=str(self._files.folder),
                fix="give the checkpoint that the bundle was compiled from",
            )
        return self._send(np.ascontiguousarray(array).reshape(-1).view(np.uint8))

    def _send(self, data: Array) -> int:
        address, device = self._memory.allocate(data.nbytes), self._memory.device
        for start in range(0, data.nbytes, len(self._staging)):
            piece = data[start : start + len(self._staging)]
            staged = self._staging[: len(piece)]
            staged[:] = piece
            device.upload(address + start, staged)
            device.synchronize()  # before the next piece takes the place of this one
        return address
