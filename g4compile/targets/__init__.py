"""Targets: what may stay in a graph, how the rest is lowered, and how the result is written."""

from __future__ import annotations

from typing import Any

from g4compile.passes.registry import passes_of
from g4compile.targets import onnx, tensorrt
from g4compile.targets.base import Target
from g4compile.targets.onnx.cpu import ONNX_CPU
from g4compile.targets.onnx.mobile import ONNX_MOBILE
from g4compile.targets.tensorrt.target import TENSORRT, TENSORRT_RTX

TARGETS: dict[str, Target] = {target.name: target for target in (ONNX_CPU, ONNX_MOBILE, TENSORRT_RTX, TENSORRT)}

__all__ = ["TARGETS", "Target", "target_passes"]


def target_passes() -> dict[str, type[Any]]:
    """Passes that only one family of targets has, by name."""
    return {**passes_of(onnx), **passes_of(tensorrt)}
