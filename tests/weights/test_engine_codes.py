"""4-bit codes in rows and in panels: the same weights, wherever the writer cuts them."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from g4compile.errors import InputError
from g4compile.weights.engine_tensors import EngineTensor, engine_matrix
from g4compile.weights.formats.panels import panel_matrix
from g4compile.weights.layouts import unpack_panels
from g4compile.weights.writer import write_tensors
from tests.weights.stored_rows import Rows


def matrix(*shape):
    return engine_matrix(Rows(np.random.default_rng(0).standard_normal(shape).astype(np.float32)), "int4")


@pytest.mark.parametrize("rows", [1, 64, 100, 128, 1000])
def test_panels_are_written_whole(rows, tmp_path, monkeypatch):
    """A step of the writer may be asked for any number of rows; a panel has 64."""
    monkeypatch.setattr("g4compile.weights.writer._CHUNK", rows * 4 * 64)
    by_row = matrix(3, 192, 64)
    panels = panel_matrix(by_row)
    values = [ir.Value(name=part, const_value=EngineTensor(panels, part)) for part in ("codes", "scales")]
    places = {value.name: place for value, place in write_tensors(values, tmp_path).items()}
    data = (tmp_path / "weights.data").read_bytes()
    codes, scales = (
        np.frombuffer(data, dtype, int(np.prod(panels.shape(part))), places[part]).reshape(panels.shape(part))
        for part, dtype in (("codes", np.int8), ("scales", ml_dtypes.bfloat16))
    )
    np.testing.assert_array_equal(unpack_panels(codes, scales.astype(np.float32)), by_row.dequantized())
    np.testing.assert_array_equal(panels.dequantized(), by_row.dequantized())


def test_rows_that_fill_no_panel_are_refused():
    with pytest.raises(InputError, match="has 96 rows, which is no multiple of 64"):
        panel_matrix(matrix(3, 96, 64))


def test_rows_that_no_block_divides_have_no_codes():
    assert matrix(4, 40) is None
