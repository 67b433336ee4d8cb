"""Targets: what may stay in a graph, how the rest is lowered, and how the result is written."""

from __future__ import annotations

from g4compile.targets.base import Target
from g4compile.targets.onnx_cpu import ONNX_CPU
from g4compile.targets.onnx_mobile import ONNX_MOBILE
from g4compile.targets.tensorrt.target import TENSORRT, TENSORRT_RTX

TARGETS: dict[str, Target] = {target.name: target for target in (ONNX_CPU, ONNX_MOBILE, TENSORRT_RTX, TENSORRT)}

__all__ = ["TARGETS", "Target"]
