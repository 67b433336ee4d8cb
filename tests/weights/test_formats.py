"""Low-bit formats: every code survives packing; what a quantiser makes is as near as the format allows."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from g4compile.errors import InputError
from g4compile.weights.formats.blocks import BITS, BLOCKS, BlockFormat, pack_bits, unpack_bits
from g4compile.weights.quantize import QUANTIZERS, nearest, search

FORMATS = [BlockFormat(*each) for each in itertools.product(BITS, (*BLOCKS, 0), (True, False))]


@pytest.mark.parametrize("bits", BITS)
def test_every_code_in_every_place(bits):
    per_byte = 8 // bits
    every = np.array(list(itertools.product(range(1 << bits), repeat=per_byte)), np.uint8)
    packed = pack_bits(every, bits)
    assert packed.shape == (len(every), 1)
    assert len(np.unique(packed)) == 256
    np.testing.assert_array_equal(unpack_bits(packed, bits), every)
    if bits < 8:  # the first value is in the lowest bits
        assert pack_bits(np.array([[1] + [0] * (per_byte - 1)], np.uint8), bits)[0, 0] == 1


@pytest.mark.parametrize("format", FORMATS, ids=str)
@pytest.mark.parametrize("columns", [1, 31, 32, 33, 64, 100, 128, 129, 384])
def test_shapes_and_sizes_of_odd_rows(format, columns):
    rows = np.random.default_rng(columns).standard_normal((3, columns)).astype(np.float32)
    packed = nearest(rows, format)
    assert packed.codes.shape == format.codes_shape(3, columns) and packed.codes.dtype == np.uint8
    assert packed.scales.shape == format.scales_shape(3, columns) and packed.scales.dtype == np.float32
    if format.symmetric:
        assert packed.zero_points is None
    else:
        assert packed.zero_points.shape == format.zero_points_shape(3, columns)
    assert format.dequantize(packed, columns).shape == rows.shape


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.sampled_from(FORMATS), st.integers(1, 200), st.integers(0, 2**32 - 1), st.sampled_from([1e-4, 1.0, 1e4]))
def test_weights_within_the_range_are_off_by_half_a_step(format, columns, seed, size):
    rows = (np.random.default_rng(seed).standard_normal((2, columns)) * size).astype(np.float32)
    packed = nearest(rows, format)
    step = np.repeat(np.abs(packed.scales), format.width(columns), axis=1)[:, :columns]
    error = np.abs(format.dequantize(packed, columns) - rows)
    # A symmetric block has one level less on the side of the smaller extreme: there up to a whole step is cut off.
    assert (error <= step * (1.01 if format.symmetric else 0.51)).all()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.sampled_from(FORMATS), st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_the_search_is_never_worse(format, columns, seed):
    rows = np.random.default_rng(seed).standard_t(4, (4, columns)).astype(np.float32)
    errors = [
        float(((format.dequantize(quantizer(rows, format), columns) - rows) ** 2).sum())
        for quantizer in (nearest, search)
    ]
    assert errors[1] <= errors[0] * (1 + 1e-5)


@pytest.mark.parametrize("bits", [2, 4])
def test_the_search_gains_on_ordinary_weights(bits):
    """A tenth of the squared error of normal weights and more: the figure in the recipes' favour."""
    format = BlockFormat(bits, 128)
    rows = np.random.default_rng(0).standard_normal((64, 1536)).astype(np.float32)
    errors = [((format.dequantize(quantizer(rows, format), 1536) - rows) ** 2).sum() for quantizer in (nearest, search)]
    assert errors[1] < 0.9 * errors[0]


@pytest.mark.parametrize("name", QUANTIZERS)
@pytest.mark.parametrize("format", FORMATS, ids=str)
def test_zeros_stay_zero_and_constants_are_finite(name, format):
    rows = np.zeros((2, 96), np.float32)
    rows[1] = 3.5
    restored = format.dequantize(QUANTIZERS[name](rows, format), 96)
    assert (restored[0] == 0).all() and np.isfinite(restored).all()
    np.testing.assert_allclose(restored[1], 3.5, rtol=1e-5)


@pytest.mark.parametrize("bits", BITS)
def test_a_whole_row_has_one_scale_and_no_padding(bits):
    format = BlockFormat(bits, 0)
    rows = np.random.default_rng(0).standard_normal((4, 1536)).astype(np.float32)
    packed = search(rows, format)
    assert (packed.scales == packed.scales[:, :1]).all()
    assert packed.codes.nbytes == rows.size * bits // 8


@pytest.mark.parametrize(("bits", "block"), [(3, 32), (16, 32), (4, 48), (4, 1), (4, -1)])
def test_formats_that_do_not_exist(bits, block):
    with pytest.raises(InputError, match="there are no"):
        BlockFormat(bits, block)
