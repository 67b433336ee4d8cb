"""Keys and values as NumPy and as ONNX Runtime have them, over the same memory.

NumPy has no bfloat16, and the runtime does without a package that adds one: such a tensor is an array of its bits.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from g4compile.runtime.onnx_runtime import ort

Array = np.ndarray[Any, Any]
_BFLOAT16, _NUMBER = "bfloat16", 16  # in `bundle/kv.py`, and in ONNX's TensorProto.DataType
_DTYPES = {"float": np.float32, _BFLOAT16: np.uint16, "int8": np.int8}


def dtype_of(kind: str) -> np.dtype[Any]:
    """Of an array that holds tensors of a ``kind``: float, int8, or bfloat16, which is uint16 here."""
    return np.dtype(_DTYPES[kind])


def zeros(kind: str, shape: Sequence[int]) -> Array:
    """An array for a tensor of ``kind``."""
    return np.zeros(shape, dtype_of(kind))


def tensor_of(kind: str, array: Array) -> Any:
    """The OrtValue of ``kind`` over the memory of a contiguous ``array`` of `dtype_of` (kind), which it keeps alive."""
    if kind == _BFLOAT16:
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array, _NUMBER)
    return ort.OrtValue.ortvalue_from_numpy(array)


def array_of(tensor: Any) -> Array:
    """The memory of an OrtValue as an array of `dtype_of` its kind; no longer than ``tensor`` is there."""
    if tensor.element_type() != _NUMBER:
        found: Array = tensor.numpy()
        return found
    shape = tensor.shape()
    bits = (ctypes.c_uint16 * math.prod(shape)).from_address(tensor.data_ptr())
    return np.ctypeslib.as_array(bits).reshape(shape)
