"""8-bit floats with one scale per tensor: how near they are, and where their bytes go."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from g4compile.errors import CheckpointError
from g4compile.weights.engine_tensors import EngineTensor
from g4compile.weights.formats.float8 import FLOAT8, LARGEST, Float8Matrix, scale_for
from g4compile.weights.writer import write_tensors
from tests.weights.stored_rows import Rows


def weights(shape, size=1.0, seed=0):
    random = np.random.default_rng(seed)
    return (random.standard_t(4, shape) * size).astype(ml_dtypes.bfloat16)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-36, 1e-6, 1.0, 3e4, 1e30]))
def test_a_weight_is_off_by_a_sixteenth_of_itself(seed, size):
    """Three digits behind the point: half a step is 1/16 at most, and half the least code near zero."""
    array = weights((3, 5, 32), size, seed)
    matrix = Float8Matrix(Rows(array))
    wide = array.astype(np.float32)
    error = np.abs(matrix.dequantized() - wide)
    assert (error <= np.maximum(np.abs(wide) / 16, matrix.scale * 2.0**-10)).all()
    exact = matrix.dequantized().astype(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(exact, matrix.dequantized())  # nothing is lost in bfloat16


@pytest.mark.parametrize(("largest", "scale"), [(448, 1), (449, 2), (224, 0.5), (0, 1), (LARGEST * 2**-9, 2**-9)])
def test_the_scale_is_the_least_power_of_two(largest, scale):
    assert scale_for(largest) == scale


@pytest.mark.parametrize("shape", [(7, 300), (3, 7, 300)])
@pytest.mark.parametrize("step", [1, 2, 5, 100])
def test_strips_put_rows_in_columns(shape, step, tmp_path, monkeypatch):
    """Written some rows at a time, the file holds what the tensor is asked for whole."""
    monkeypatch.setattr("g4compile.weights.writer._CHUNK", step * 4 * 300)
    matrix = Float8Matrix(Rows(weights(shape)))
    values = [ir.Value(name=part, const_value=EngineTensor(matrix, part)) for part in ("codes", "scales")]
    places = {value.name: place for value, place in write_tensors(values, tmp_path).items()}
    data = (tmp_path / "weights.data").read_bytes()
    codes = np.frombuffer(data, FLOAT8, int(np.prod(shape)), places["codes"]).reshape(matrix.shape("codes"))
    np.testing.assert_array_equal(codes.view(np.uint8), values[0].const_value.numpy().view(np.uint8))
    assert np.frombuffer(data, ml_dtypes.bfloat16, 1, places["scales"])[0] == matrix.scale
    np.testing.assert_array_equal(
        np.swapaxes(codes, -1, -2).astype(np.float32) * np.float32(matrix.scale), matrix.dequantized()
    )


def test_what_is_not_finite_is_refused():
    array = weights((4, 8))
    array[2, 3] = np.inf
    with pytest.raises(CheckpointError, match="w holds numbers that are not finite"):
        Float8Matrix(Rows(array)).measure()
