"""Which weights have 4-bit codes for engines."""

from __future__ import annotations

import numpy as np

from g4compile.weights.engine_tensors import engine_matrix
from tests.weights.stored_rows import Rows


def matrix(*shape):
    return engine_matrix(Rows(np.random.default_rng(0).standard_normal(shape).astype(np.float32)), "int4")


def test_rows_that_no_block_divides_have_no_codes():
    assert matrix(4, 40) is None
