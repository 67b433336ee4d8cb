"""Operands of a run in ONNX Runtime, by their addresses on the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

FLOAT, INT64, BFLOAT16 = 1, 7, 16  # as ONNX numbers them


def bind_input(binding: Any, name: str, dtype: int, shape: Sequence[int], address: int) -> None:
    binding.bind_input(name, "cuda", 0, dtype, list(shape), address)


def bind_output(binding: Any, name: str, dtype: int, shape: Sequence[int], address: int) -> None:
    binding.bind_output(name, "cuda", 0, dtype, list(shape), address)
