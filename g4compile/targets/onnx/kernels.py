"""Whose kernels multiply with codes, and attend: those of libg4ops where that is installed, else ONNX Runtime's own."""

from __future__ import annotations

from dataclasses import dataclass

from g4compile.bundle.kv import BFLOAT16
from g4compile.errors import InputError
from g4compile.runtime.native import find_library
from g4compile.targets.base import FLOAT32, Options
from g4compile.targets.onnx.lower_quantized_weights import G4OPS, KERNELS, ONNXRUNTIME


@dataclass(frozen=True)
class OnnxOptions(Options):
    """``kernels``: of products with codes, and of the caches and attention beside them. ``package``: the runtime that
    the folder is for, where it is none of ours; ``image_token`` then is the id that stands for images."""

    kernels: str = ONNXRUNTIME
    package: str = ""
    image_token: int = 0


def kernels_for(weights: str, asked: str | None, kv: str = FLOAT32) -> str:
    """The kernels that a compile of ``weights`` takes, which is told ``asked``: None for what there is here, or for the
    only ones that keep keys and values as ``kv``. Raises InputError for kernels that do not exist, or that do not go
    with these weights or this KV, MachineError for a library that is here and cannot be used."""
    if asked is not None and asked not in KERNELS:
        raise InputError(f"there are no kernels {asked}", fix=f"--kernels {', '.join(KERNELS)}")
    if kv == BFLOAT16:
        _check_bfloat16(weights, asked)
        return G4OPS
    if asked == G4OPS and weights == FLOAT32:
        raise InputError(
            "libg4ops multiplies with codes, and float32 weights have none", fix="--weights int4, or no --kernels"
        )
    if asked is not None or weights == FLOAT32:
        return asked or ONNXRUNTIME
    return ONNXRUNTIME if find_library() is None else G4OPS


def _check_bfloat16(weights: str, asked: str | None) -> None:
    """Raise InputError where keys and values cannot be bfloat16."""
    if weights == FLOAT32:
        raise InputError(
            "bfloat16 keys and values do not go with float32 weights",
            why="only libg4ops reads them, and its kernels are for weights that are codes",
            fix="--weights int8 or int4, or --kv float32 or int8",
        )
    if asked == ONNXRUNTIME:
        raise InputError(
            "the kernels of ONNX Runtime have no bfloat16 keys and values: its attention on CPUs reads float32",
            fix="--kernels g4ops, or --kv float32 or int8",
        )
