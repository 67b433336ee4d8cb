"""What of this machine runs `onnx-cuda` bundles: the GPU and its driver, ONNX Runtime's CUDA provider, cuda-python, and
libg4cuda for bundles of kernels; and what is missing, with the fix."""

from __future__ import annotations

import ctypes
from importlib.util import find_spec

from g4compile.errors import MachineError
from g4compile.runtime import packages
from g4compile.runtime.cuda.library import require_library

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
_DRIVER = "install NVIDIA's driver, of CUDA 13 (580 or newer)"
_LEAST = 13_000  # CUDA 13.0, as the driver says it
Found = dict[str, str]  # `found`, in words; or `error` and `fix`


def present() -> dict[str, Found]:
    """By name of the part: what was found, or what is wrong and the fix."""
    checks = {"gpu": find_gpu, "onnxruntime": _provider, "cuda-python": _cuda_python, "libg4cuda": _library}
    found: dict[str, Found] = {}
    for name, check in checks.items():
        try:
            found[name] = {"found": check()}
        except MachineError as error:
            found[name] = {"error": error.what, "fix": error.fix}
    return found


def find_gpu() -> str:
    """The first GPU and the driver, in words. Raises MachineError where there is none, or the driver is too old."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise MachineError("no driver of NVIDIA was found", why=str(error), fix=_DRIVER) from error
    version, count, device = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    major, minor, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(256)
    if cuda.cuInit(0) or cuda.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        raise MachineError("NVIDIA's driver is here, and finds no GPU", fix="check what `nvidia-smi` says")
    failed = (
        cuda.cuDriverGetVersion(ctypes.byref(version))
        or cuda.cuDeviceGet(ctypes.byref(device), 0)
        or cuda.cuDeviceGetName(name, len(name), device)
        or cuda.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device)
        or cuda.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device)
    )
    if failed:
        raise MachineError(f"NVIDIA's driver gives the error {failed}", fix="check what `nvidia-smi` says")
    if version.value < _LEAST:
        raise MachineError(
            f"NVIDIA's driver is one of CUDA {_words(version.value)}, and CUDA 13.0 is the least", fix=_DRIVER
        )
    return f"{name.value.decode()}, sm_{major.value}{minor.value}, driver of CUDA {_words(version.value)}"


def _words(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def _provider() -> str:
    found = packages.cuda_fault()
    if found is not None:
        raise found
    try:
        find_gpu()
    except MachineError:
        return "has the CUDA provider, which loads where a GPU is"
    if not packages.provider_loads():
        raise MachineError("ONNX Runtime's CUDA provider cannot be loaded", fix=packages.LIBRARIES)
    return "has the CUDA provider"


def _cuda_python() -> str:
    try:
        here = find_spec("cuda.bindings") is not None
    except ImportError:
        here = False
    if not here:
        raise MachineError("cuda-python is not installed", fix=packages.EXTRA)
    return "installed"


def _library() -> str:
    return str(require_library("an onnx-cuda bundle with kernels of g4compile").file)
