"""Whose kernels multiply with codes: those of libg4ops where that is installed, else ONNX Runtime's own."""

from __future__ import annotations

from dataclasses import dataclass

from g4compile.errors import InputError
from g4compile.runtime.native import find_library
from g4compile.targets.base import FLOAT32, Options
from g4compile.targets.onnx.lower_quantized_weights import G4OPS, KERNELS, ONNXRUNTIME


@dataclass(frozen=True)
class OnnxOptions(Options):
    """``kernels``: of products with codes."""

    kernels: str = ONNXRUNTIME


def kernels_for(weights: str, asked: str | None) -> str:
    """The kernels that a compile of ``weights`` takes, which is told ``asked``: None for what there is here. Raises
    InputError for kernels that do not exist or that weights in float do not have, MachineError for a library that is
    here and cannot be used."""
    if asked is not None and asked not in KERNELS:
        raise InputError(f"there are no kernels {asked}", fix=f"--kernels {', '.join(KERNELS)}")
    if asked == G4OPS and weights == FLOAT32:
        raise InputError(
            "libg4ops multiplies with codes, and float32 weights have none", fix="--weights int4, or no --kernels"
        )
    if asked is not None or weights == FLOAT32:
        return asked or ONNXRUNTIME
    return ONNXRUNTIME if find_library() is None else G4OPS
