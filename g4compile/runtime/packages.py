"""The packages that bring ONNX Runtime: one with CUDA, one without, and both install into one folder.

Where both are installed, files of one lie over those of the other; where one of them is then uninstalled, files of the
other are gone. Either shows as a missing CUDA provider, or as an import that fails.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from g4compile.errors import MachineError

PLAIN, CUDA = "onnxruntime", "onnxruntime-gpu"
ADMITTED = ">=1.30,<1.33"  # of either
EXTRA = "pip install 'g4compile[cuda]'"
# From either, or both, to the one with CUDA.
REPAIR = f"pip uninstall -y {PLAIN} {CUDA} && pip install '{CUDA}{ADMITTED}'"
PROVIDER = "CUDAExecutionProvider"
# y = x of one float32, as an ONNX model: opset 17, IR version 8.
_IDENTITY = (
    b'\x08\x08:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\x11"
)
LIBRARIES = f"{EXTRA} brings CUDA's libraries, and then: {REPAIR}; or install CUDA 13 from NVIDIA"


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
    """What keeps ONNX Runtime here from running any bundle, with the repair; None where nothing does."""
    found = installed()
    if len(found) > 1:
        return MachineError(
            f"{PLAIN} and {CUDA} are both installed, and break each other",
            why="they install into one folder, and files of one lie over those of the other",
            fix=REPAIR,
        )
    if providers() is None:
        return (
            broken() if found else MachineError("ONNX Runtime is not installed", fix=f"pip install '{PLAIN}{ADMITTED}'")
        )
    return None


def cuda_fault() -> MachineError | None:
    """What keeps it from running `onnx-cuda` bundles. Of the GPU and its driver it says nothing."""
    found = fault()
    if found is None and PROVIDER not in (providers() or ()):
        return MachineError(
            "this ONNX Runtime has no CUDA provider",
            why=f"the package {', '.join(installed()) or PLAIN} is installed, and only {CUDA} has it",
            fix=REPAIR,
        )
    return found


def broken(error: Exception | None = None) -> MachineError:
    """That the package of ONNX Runtime is not whole, as ``error`` of an import says."""
    found = installed()
    one = CUDA if CUDA in found else PLAIN
    return MachineError(
        "ONNX Runtime is installed, and cannot be used" + (f": {error}" if error else ""),
        why=f"of {PLAIN} and {CUDA}, removing one takes files of the other along",
        fix=f"pip uninstall -y {PLAIN} {CUDA} && pip install '{one}{ADMITTED}'",
    )


def load_libraries() -> None:
    """Load CUDA's libraries from their Python packages, for machines that have them nowhere else."""
    preload = getattr(import_module(PLAIN), "preload_dlls", None)
    if preload is not None:
        preload(cudnn=False)


def provider_loads() -> bool:
    """Whether the CUDA provider and all libraries that it needs can be loaded: a graph of one node says so."""
    if PROVIDER not in (providers() or ()):
        return False
    load_libraries()
    runtime = import_module(PLAIN)
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    return PROVIDER in runtime.InferenceSession(_IDENTITY, options, providers=[PROVIDER]).get_providers()
