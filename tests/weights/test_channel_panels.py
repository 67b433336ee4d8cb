"""Panels: the bytes of `native/LAYOUT.md`, by a second statement of it, and nothing lost on the way there."""

import itertools

import numpy as np
import onnx_ir as ir
import pytest

from g4compile.weights.formats.blocks import BITS, BLOCKS, BlockFormat, unpack_bits
from g4compile.weights.formats.channel_panels import ChannelPanels, fits_panels, panel_bytes, panel_scales
from g4compile.weights.quantize import QUANTIZERS
from g4compile.weights.quantized import QuantizedMatrix, QuantizedTensor
from g4compile.weights.writer import write_tensors
from tests.native import reference
from tests.ops.test_quantized_kernels import Rows

FORMATS = [
    BlockFormat(bits, block, symmetric, "bfloat16" if block else "float32")
    for bits, block, symmetric in itertools.product(BITS, (*BLOCKS, 0), (True, False))
]


def matrices(rows, columns, format, quantizer="nearest"):
    weight = Rows(np.random.default_rng(columns).standard_normal((rows, columns)).astype(np.float32))
    return QuantizedMatrix(weight, format, quantizer), ChannelPanels(weight, format, quantizer)


def as_reference(matrix):
    """The same codes and scales, to be laid out by the other statement."""
    format, made = matrix.format, matrix.quantize(0, matrix.rows)
    blocks = format.blocks(matrix.columns) if format.block else 1
    codes = unpack_bits(made.codes, format.bits).reshape(matrix.rows, -1)[:, : matrix.columns]
    zeros = None if format.symmetric else unpack_bits(made.zero_points, format.bits)[:, :blocks]
    return reference.Matrix(format.bits, format.block, codes, made.scales[:, :blocks], zeros)


@pytest.mark.parametrize("format", FORMATS, ids=str)
@pytest.mark.parametrize(("rows", "columns"), [(5, 31), (32, 96), (70, 200), (33, 129)])
def test_the_bytes_are_those_of_the_layout(format, rows, columns):
    blocks, panels = matrices(rows, columns, format, "search")
    made, expected = panels.quantize(0, rows), as_reference(blocks)
    scales = expected.stored_scales()
    np.testing.assert_array_equal(made.codes, expected.panels())
    np.testing.assert_array_equal(np.asarray(made.scales).view(scales.dtype), scales)
    np.testing.assert_array_equal(made.zero_points, expected.stored_zeros())
    np.testing.assert_array_equal(panels.dequantized(), blocks.dequantized())
    np.testing.assert_array_equal(panel_scales(made.scales, rows, format), expected.scales)
    for part in panels.parts:
        array = getattr(made, part)
        assert array.shape == panels.shape(part) and array.nbytes == panel_bytes(rows, columns, format)[part]


@pytest.mark.parametrize("rows", [96, 97])
def test_rows_are_written_some_panels_at_a_time(rows, tmp_path):
    _, panels = matrices(rows, 64, BlockFormat(2, 32, False, "bfloat16"))
    values = []
    for part in panels.parts:
        tensor = QuantizedTensor(panels, part)
        values.append(ir.Value(name=part, shape=tensor.shape, const_value=tensor, type=ir.TensorType(tensor.dtype)))
    places = write_tensors(values, tmp_path, max_memory=64 * 4 * 40 * 16)  # a panel and some rows: so one panel a step
    whole, data = panels.quantize(0, rows), (tmp_path / "weights.data").read_bytes()
    for value in values:
        array = getattr(whole, value.name)
        assert data[places[value] : places[value] + array.nbytes] == array.tobytes(), value.name


@pytest.mark.parametrize("name", QUANTIZERS)
@pytest.mark.parametrize(("bits", "symmetric"), list(itertools.product(BITS, (True, False))))
def test_codes_are_chosen_for_the_rounded_scale(name, bits, symmetric):
    """A stored scale is a bfloat16, and `nearest` gives each weight the level that is nearest for it."""
    format = BlockFormat(bits, 32, symmetric, "bfloat16")
    rows = np.random.default_rng(bits).standard_normal((16, 96)).astype(np.float32)
    made = QUANTIZERS[name](rows, format)
    np.testing.assert_array_equal(made.scales, reference.from_bfloat16(reference.bfloat16(made.scales)))
    if name == "nearest":
        codes = unpack_bits(made.codes, bits).astype(np.float32)
        zeros = format.middle if symmetric else unpack_bits(made.zero_points, bits)[:, :3, None].astype(np.float32)
        levels = rows.reshape(16, 3, 32) / made.scales[..., None] + zeros
        assert (np.abs(np.clip(levels, 0, format.levels - 1) - codes) <= 0.5 + 1e-4).all()


def test_what_does_not_stand_in_panels():
    rounded, exact = BlockFormat(4, 32, True, "bfloat16"), BlockFormat(4, 32)
    assert fits_panels((8, 64), rounded) and fits_panels((8, 64), BlockFormat(4, 0))
    assert not fits_panels((8, 64), exact)  # bfloat16 would not hold its scales
    assert not fits_panels((4, 8, 64), rounded)
    assert not fits_panels((8, (1 << 16) + 32), rounded) and not fits_panels(((1 << 24) + 1, 64), rounded)
    assert not any(fits_panels((8, 512), BlockFormat(4, block, True, "bfloat16")) for block in (16, 256))
