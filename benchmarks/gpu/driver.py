"""Kernels of plugin layers launched by the CUDA driver alone, as TensorRT launches them: the PTX that an engine holds,
and arguments in the order operands, integers, outputs."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from g4compile.targets.kernels.architectures import PLAIN
from g4compile.targets.kernels.kernel import Compiled
from g4compile.targets.tensorrt.launches import Launch, grid_of

_MOST_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
_OPT_IN = 97  # CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN


class Kernel:
    """``launch``, ``made`` by `plugins.compiled` and loaded from PTX that the driver compiles. ``cuda`` is libcuda."""

    def __init__(self, cuda: Any, launch: Launch, made: Compiled) -> None:
        self._cuda, self.launch, self.made = cuda, launch, made
        module, self._function = ctypes.c_void_p(), ctypes.c_void_p()
        self._check(cuda.cuModuleLoadData(ctypes.byref(module), made.ptx.encode() + b"\0"))
        self._check(cuda.cuModuleGetFunction(ctypes.byref(self._function), module, made.entry.encode()))
        if made.shared > PLAIN:
            self._check(cuda.cuFuncSetAttribute(self._function, _MOST_SHARED, made.shared))

    def __call__(self, operands: Sequence[Any], outputs: Sequence[Any], stream: int) -> None:
        """Launch. ``operands`` and ``outputs`` have `shape` and `data_ptr`, as torch's tensors."""
        shapes = [one.shape for one in operands]
        wanted, given = self.launch.shapes(shapes), [list(one.shape) for one in outputs]
        if len(operands) != self.launch.operands or given != wanted:
            raise ValueError(f"{self.launch.kernel.name} writes {wanted}, and {given} is what it was given")
        integers = self.launch.integers(shapes)
        values: list[Any] = [ctypes.c_void_p(one.data_ptr()) for one in operands]
        values += [ctypes.c_int32(value) for value in integers]
        values += [ctypes.c_void_p(one.data_ptr()) for one in outputs]
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        grid, block = grid_of(self.made.way.grid, integers), (32 * self.made.way.warps, 1, 1)
        where = (self.made.shared, ctypes.c_void_p(stream))
        self._check(self._cuda.cuLaunchKernel(self._function, *grid, *block, *where, pointers, None))

    def _check(self, code: int) -> None:
        if code:
            raise RuntimeError(f"the CUDA driver says {code} to {self.made.entry}")


def most_shared(cuda: Any) -> int:
    """Bytes of shared memory that a block may take on the first GPU, when asked for."""
    found, device = ctypes.c_int(), ctypes.c_int()
    if cuda.cuDeviceGet(ctypes.byref(device), 0) or cuda.cuDeviceGetAttribute(ctypes.byref(found), _OPT_IN, device):
        raise RuntimeError("the CUDA driver does not say how much shared memory a block may take")
    return found.value
