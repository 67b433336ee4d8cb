"""The packages that bring ONNX Runtime: one with CUDA, one without, and both install into one folder.

Where both are installed, files of one lie over those of the other; where one of them is then uninstalled, files of the
other are gone. Either shows as a missing CUDA provider, or as an import that fails.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from g4compile.errors import MachineError

PLAIN, CUDA = "onnxruntime", "onnxruntime-gpu"
INSTALL = "pip install 'g4compile[cuda]'"
REPAIR = f"pip uninstall -y {PLAIN} {CUDA} && {INSTALL}"
PROVIDER = "CUDAExecutionProvider"
# y = x of one float32, as an ONNX model: opset 17, IR version 8.
_IDENTITY = (
    b'\x08\x08:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\x11"
)
LIBRARIES = "pip install 'g4compile[cuda]' brings CUDA's libraries; or install CUDA 13 from NVIDIA"


def installed() -> list[str]:
    """Those that are installed, by the records of pip."""
    found = []
    for name in (PLAIN, CUDA):
        try:
            version(name)
        except PackageNotFoundError:
            continue
        found.append(name)
    return found


def providers() -> list[str] | None:
    """What the ONNX Runtime that is imported can run on; None where it cannot be imported, or has no content."""
    try:
        return list(import_module(PLAIN).get_available_providers())
    except (ImportError, AttributeError):
        return None


def fault() -> MachineError | None:
    """What keeps ONNX Runtime here from running `onnx-cuda` bundles, with the repair; None where nothing does. Of the
    GPU and its driver it says nothing."""
    packages, found = installed(), providers()
    if len(packages) > 1:
        return MachineError(
            f"{PLAIN} and {CUDA} are both installed, and break each other",
            why="they install into one folder, and files of one lie over those of the other",
            fix=REPAIR,
        )
    if found is None:
        return MachineError(
            "ONNX Runtime is installed, and cannot be imported" if packages else "ONNX Runtime is not installed",
            why=f"uninstalling one of {PLAIN} and {CUDA} takes files of the other along" if packages else "",
            fix=REPAIR,
        )
    if PROVIDER not in found:
        return MachineError(
            "this ONNX Runtime has no CUDA provider",
            why=f"the package {packages[0] if packages else PLAIN} is installed, and only {CUDA} has it",
            fix=f"pip uninstall -y {PLAIN} && {INSTALL}",
        )
    return None


def load_libraries() -> None:
    """Load CUDA's libraries from their Python packages, for machines that have them nowhere else."""
    preload = getattr(import_module(PLAIN), "preload_dlls", None)
    if preload is not None:
        preload(cudnn=False)


def provider_loads() -> bool:
    """Whether the CUDA provider and all libraries that it needs can be loaded: a graph of one node says so."""
    load_libraries()
    runtime = import_module(PLAIN)
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    return PROVIDER in runtime.InferenceSession(_IDENTITY, options, providers=[PROVIDER]).get_providers()
