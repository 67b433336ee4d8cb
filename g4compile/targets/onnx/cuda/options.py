"""What a compile for ONNX Runtime on CUDA is told, and the sizes that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

from g4compile.bundle.kv import BFLOAT16
from g4compile.errors import Defect, InputError
from g4compile.model.config import LayerFacts
from g4compile.targets.base import REWIND, Options
from g4compile.targets.kernels.architectures import ARCHITECTURES

COUNTERS = 4096  # integers in which the blocks of a kernel count: one for each head of each sequence of a run
CHUNKS = (16, 8192)


@dataclass(frozen=True)
class CudaOptions(Options):
    """``chunk``: most new tokens of a run. ``compute_capabilities``: the architectures that get machine code (89 for
    8.9)."""

    weights: str = BFLOAT16
    kv: str = BFLOAT16
    chunk: int = 2048
    compute_capabilities: tuple[int, ...] = tuple(ARCHITECTURES)

    def slots(self, layer: LayerFacts) -> int:
        """Of the caches of ``layer``: the context; of a sliding one a ring for the window before a run, what can be
        taken back, and the new tokens of the run."""
        return self.context if layer.window is None else layer.window - 1 + REWIND + self.chunk

    def check(self) -> None:
        """Raise InputError for sizes and architectures that no kernel is for."""
        least, most = CHUNKS
        if not least <= self.chunk <= most:
            raise InputError(
                f"runs of {self.chunk:,} tokens are not possible", fix=f"--chunk between {least} and {most:,}"
            )
        known = ", ".join(map(str, ARCHITECTURES))
        unknown = [str(one) for one in self.compute_capabilities if one not in ARCHITECTURES]
        if unknown or not self.compute_capabilities:
            what = f"compute capability {', '.join(unknown)}" if unknown else "no compute capability"
            raise InputError(f"there are no kernels for {what}", fix=f"--sm, one or more of {known}")


def cuda_options(options: Options) -> CudaOptions:
    """``options``, which the target made itself."""
    if not isinstance(options, CudaOptions):
        raise Defect("the target was given the options of another")
    return options
