"""What a compile for ONNX Runtime on CUDA is told, and the sizes that follow from it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.util import find_spec

from g4compile.bundle.kv import BFLOAT16
from g4compile.errors import Defect, InputError, MachineError
from g4compile.model.config import LayerFacts
from g4compile.targets.base import REWIND, Options
from g4compile.targets.kernels.architectures import ARCHITECTURES
from g4compile.targets.onnx.lower_quantized_weights import ONNXRUNTIME

CHUNKS = (16, 8192)
G4CUDA = "g4cuda"
KERNELS = (G4CUDA, ONNXRUNTIME)
INSTALL = "pip install triton"
_ALIGNED = 16  # slots: ONNX Runtime's fused attention reads masks whose rows begin at a multiple of 16 bytes


@dataclass(frozen=True)
class CudaOptions(Options):
    """``chunk``: most new tokens of a run. ``compute_capabilities``: the architectures that get machine code (89 for
    8.9). ``kernels``: those of libg4cuda, or ONNX Runtime's own."""

    weights: str = BFLOAT16
    kv: str = BFLOAT16
    chunk: int = 2048
    compute_capabilities: tuple[int, ...] = tuple(ARCHITECTURES)
    kernels: str = G4CUDA

    @property
    def stock(self) -> bool:
        """Whether ONNX Runtime's own ops compute all."""
        return self.kernels == ONNXRUNTIME

    def slots(self, layer: LayerFacts) -> int:
        """Of the caches of ``layer``: the context; of a sliding one a ring for the window before a run, what can be
        taken back, and the new tokens of the run."""
        if layer.window is None:
            return self.context
        least = layer.window - 1 + REWIND + self.chunk
        return least + (-least % _ALIGNED if self.stock else 0)

    def check(self) -> None:
        """Raise InputError for sizes and architectures that no kernel is for, MachineError where kernels are to be made
        and Triton is not here."""
        least, most = CHUNKS
        if not least <= self.chunk <= most:
            raise InputError(
                f"runs of {self.chunk:,} tokens are not possible", fix=f"--chunk between {least} and {most:,}"
            )
        if self.stock:
            return
        known = ", ".join(map(str, ARCHITECTURES))
        unknown = [str(one) for one in self.compute_capabilities if one not in ARCHITECTURES]
        if unknown or not self.compute_capabilities:
            what = f"compute capability {', '.join(unknown)}" if unknown else "no compute capability"
            raise InputError(f"there are no kernels for {what}", fix=f"--sm, one or more of {known}")
        if find_spec("triton") is None:
            raise MachineError(
                f"Triton is not installed, which compiles the kernels {G4CUDA}",
                why="it is for Linux; elsewhere there are ONNX Runtime's own kernels, which are slower",
                fix=f"{INSTALL}; or --kernels {ONNXRUNTIME}",
            )


def kernels_for(asked: str | None, capabilities: bool) -> str:
    """The kernels that a compile takes, which is told ``asked``: None for those of libg4cuda where Triton is, which
    makes them, and with a warning for ONNX Runtime's own where it is not. ``capabilities``: GPUs are named to make them
    for. Raises InputError for kernels that do not exist, or are made for no GPU."""
    if asked is not None and asked not in KERNELS:
        raise InputError(f"there are no kernels {asked} for CUDA", fix=f"--kernels {', '.join(KERNELS)}")
    if asked == ONNXRUNTIME:
        if capabilities:
            raise InputError("ONNX Runtime's kernels are compiled already, for no GPU in particular", fix="no --sm")
        return ONNXRUNTIME
    if asked == G4CUDA or find_spec("triton") is not None:
        return G4CUDA
    warnings.warn(
        "Triton is not installed, so this bundle computes with ONNX Runtime's own kernels, which are slower than those "
        f"of g4compile{', and --sm has no use' if capabilities else ''}; on Linux: {INSTALL}",
        stacklevel=2,
    )
    return ONNXRUNTIME


def cuda_options(options: Options) -> CudaOptions:
    """``options``, which the target made itself."""
    if not isinstance(options, CudaOptions):
        raise Defect("the target was given the options of another")
    return options
