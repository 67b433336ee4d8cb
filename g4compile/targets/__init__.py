"""Targets: which graphs they make of a model, what may stand in those, how the rest is lowered, and how the result
is written."""

from __future__ import annotations

from typing import Any

from g4compile.errors import InputError, MachineError
from g4compile.passes.registry import passes_of
from g4compile.requirements import met
from g4compile.targets import fused, onnx, tensorrt
from g4compile.targets.base import Target
from g4compile.targets.onnx import cuda, genai
from g4compile.targets.onnx.cuda.target import ONNX_CUDA
from g4compile.targets.onnx.target import ONNX_CPU, ONNX_MOBILE
from g4compile.targets.tensorrt.target import TENSORRT, TENSORRT_RTX

TARGETS: dict[str, Target] = {
    target.name: target for target in (ONNX_CPU, ONNX_MOBILE, ONNX_CUDA, TENSORRT_RTX, TENSORRT)
}


def target_named(name: str) -> Target:
    """The target called ``name``. Raises InputError."""
    if name not in TARGETS:
        raise InputError(f"there is no target {name}", fix=f"targets: {', '.join(TARGETS)}")
    return TARGETS[name]


def compiles_here() -> dict[str, bool]:
    """By target, whether what compiling for it imports is installed, and the machine has what it needs."""
    return {name: met(*target.extras) and _takes_machine(target) for name, target in TARGETS.items()}


def _takes_machine(target: Target) -> bool:
    try:
        target.check_machine()
    except MachineError:
        return False
    return True


def target_passes() -> dict[str, type[Any]]:
    """Passes that not all targets have, by name."""
    return {**passes_of(fused), **passes_of(onnx), **passes_of(cuda), **passes_of(genai), **passes_of(tensorrt)}
