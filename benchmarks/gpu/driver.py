"""Compiled kernels launched by the CUDA driver alone, as a library of custom ops would: libcuda, and the records of
`g4compile/targets/kernels/artefacts.py`."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from g4compile.targets.kernels.artefacts import Stored

_MOST_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
_OPT_IN = 97  # CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN


class Kernel:
    """One kernel, loaded from its cubin or, with ``ptx``, from PTX that the driver compiles. ``cuda`` is libcuda."""

    def __init__(self, cuda: Any, stored: Stored, ptx: bool) -> None:
        self._cuda, self.launch = cuda, stored.launch
        module, self._function = ctypes.c_void_p(), ctypes.c_void_p()
        image = stored.ptx.read_bytes() + b"\0" if ptx else stored.cubin.read_bytes()
        self._check(cuda.cuModuleLoadData(ctypes.byref(module), image))
        self._check(cuda.cuModuleGetFunction(ctypes.byref(self._function), module, self.launch.entry.encode()))
        if self.launch.opt_in:
            self._check(cuda.cuFuncSetAttribute(self._function, _MOST_SHARED, self.launch.shared))

    def __call__(self, inputs: Sequence[Any], output: Any, stream: int) -> None:
        """Launch. ``inputs`` and ``output`` have `shape` and `data_ptr`, as torch's tensors."""
        named = zip(self.launch.of_kind("input"), inputs, strict=True)
        tensors = {argument.name: tensor for argument, tensor in named}
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        (written,) = self.launch.of_kind("output")
        wanted = [size.of(shapes) for size in written.shape]
        if list(output.shape) != wanted:
            raise ValueError(f"{self.launch.kernel} writes {wanted}, and {list(output.shape)} is what it was given")
        tensors[written.name] = output
        values: list[Any] = []
        for argument in self.launch.arguments:
            if argument.value is not None:
                values.append(ctypes.c_int32(argument.value.of(shapes)))
                continue
            address = tensors[argument.name].data_ptr()
            if address % argument.align:
                raise ValueError(f"{argument.name} of {self.launch.kernel} is not at a multiple of {argument.align}")
            values.append(ctypes.c_void_p(address))
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        grid = [size.of(shapes) for size in self.launch.grid]
        block = (self.launch.threads, 1, 1)
        where = (self.launch.shared, ctypes.c_void_p(stream))
        self._check(self._cuda.cuLaunchKernel(self._function, *grid, *block, *where, pointers, None))

    def _check(self, code: int) -> None:
        if code:
            raise RuntimeError(f"the CUDA driver says {code} to {self.launch.entry}")


def most_shared(cuda: Any) -> int:
    """Bytes of shared memory that a block may take on the first GPU, when asked for."""
    found, device = ctypes.c_int(), ctypes.c_int()
    if cuda.cuDeviceGet(ctypes.byref(device), 0) or cuda.cuDeviceGetAttribute(ctypes.byref(found), _OPT_IN, device):
        raise RuntimeError("the CUDA driver does not say how much shared memory a block may take")
    return found.value
