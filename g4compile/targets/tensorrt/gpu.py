"""The GPU of this machine, as far as engines and the kernels in them depend on it."""

from __future__ import annotations

import ctypes

from g4compile.errors import MachineError
from g4compile.targets.kernels.architectures import ARCHITECTURES

_OPEN = (80,)  # of the architectures of `targets/kernels/architectures.py`: code for the others runs on no newer GPU
_CAPABILITY = (75, 76)  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR


def architecture_of(capability: int) -> int:
    """The newest architecture that kernels are compiled for and a GPU of ``capability`` runs: sm89, sm90, sm100
    and sm120 have some of their own, others run what is older. Raises MachineError below the oldest."""
    older = [one for one in ARCHITECTURES if one <= capability and (one in _OPEN or one == capability)]
    if not older:
        raise MachineError(
            f"kernels are compiled for sm{min(ARCHITECTURES)} and newer, and the GPU here is sm{capability}",
            fix="use --target tensorrt-rtx, which has no kernels of ours",
        )
    return max(older)


def gpu_capability() -> int | None:
    """The compute capability of the first GPU (90 for 9.0), as the CUDA driver says it; None without one."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    found = [ctypes.c_int(0), ctypes.c_int(0)]
    device = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), 0):
        return None
    for value, attribute in zip(found, _CAPABILITY, strict=True):
        if driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device):
            return None
    return 10 * found[0].value + found[1].value
