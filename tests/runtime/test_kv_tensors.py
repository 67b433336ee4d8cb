"""Keys and values of every kind: one memory for NumPy and for ONNX Runtime, bfloat16 as its bits."""

import gc

import ml_dtypes
import numpy as np
import pytest

from g4compile.runtime.kv_tensors import array_of, dtype_of, tensor_of, zeros

KINDS = {"float": np.float32, "int8": np.int8, "bfloat16": ml_dtypes.bfloat16}


@pytest.mark.parametrize("kind", KINDS)
def test_what_one_writes_the_other_reads(kind):
    numbers = np.arange(24).reshape(1, 2, 3, 4).astype(KINDS[kind])
    array = zeros(kind, numbers.shape)
    assert array.dtype == dtype_of(kind) and array.nbytes == numbers.nbytes and not array.any()
    tensor = tensor_of(kind, array)
    assert tensor.data_type() == f"tensor({kind})" and tensor.shape() == [1, 2, 3, 4]
    assert tensor.tensor_size_in_bytes() == numbers.nbytes
    array[:] = numbers.view(array.dtype)
    seen = array_of(tensor)
    np.testing.assert_array_equal(seen.view(KINDS[kind]), numbers)
    seen[0, 1, 2, 3] = 0
    assert array[0, 1, 2, 3] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_tensor_keeps_its_memory(kind):
    tensor = tensor_of(kind, np.full((1, 1, 4, 1 << 16), 7, dtype_of(kind)))
    gc.collect()
    other = [np.zeros((1, 1, 4, 1 << 16), dtype_of(kind)) for _ in range(4)]  # would take what was free
    assert (array_of(tensor) == 7).all() and not other[0].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 2, 0, 8), (0, 2, 4, 8)])
def test_nothing_yet(kind, shape):
    """Windows that move hold nothing at the start."""
    seen = array_of(tensor_of(kind, zeros(kind, shape)))
    assert seen.shape == shape and seen.dtype == dtype_of(kind)
