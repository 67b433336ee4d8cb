"""Kernels of every instruction set against NumPy: to the bit where roundings are defined, which is everywhere."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from g4compile.weights.formats.blocks import BlockFormat
from tests.native import reference
from tests.native.library import Failed, stored

FORMATS = [(bits, block, zeros) for bits in (2, 4, 8) for block in (0, 32, 64, 128) for zeros in (False, True)]
quick = settings(
    derandomize=True, deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
cases = st.tuples(
    st.sampled_from(FORMATS),
    st.one_of(st.integers(1, 30), st.integers(31, 300)),  # rows
    st.integers(1, 600),  # K
    st.integers(1, 130),  # N
    st.sampled_from((0, 128)),
    st.integers(0, 1 << 32),
)


def equal(found, expected):
    np.testing.assert_array_equal(found, expected)


def activations(random, rows, columns):
    """Some rows far larger than others, and single large channels."""
    x = random.standard_normal((rows, columns)).astype(np.float32) * np.float32(10) ** random.integers(-3, 4, (rows, 1))
    x[:, random.integers(0, columns)] *= 50
    return np.ascontiguousarray(x, np.float32)


@quick
@given(cases)
def test_products_to_the_bit(library, kernels, case):
    (bits, block, zeros), rows, columns, channels, activation_block, seed = case
    random = np.random.default_rng(seed)
    matrix = reference.random_matrix(random, channels, columns, bits, block, zeros)
    x = activations(random, rows, columns)
    expected = reference.quantize(x, activation_block)
    buffer = library.quantize(kernels, x, activation_block)
    assert buffer.tobytes() == reference.packed(expected)
    found = library.product(kernels, stored(matrix), buffer, rows, activation_block)
    equal(found, reference.product(expected, matrix))


@quick
@given(cases)
def test_the_exact_path_is_exact(library, kernels, case):
    """1e-5 of the sum of the absolute terms is promised; 1e-6 holds."""
    (bits, block, zeros), rows, columns, channels, _, seed = case
    random = np.random.default_rng(seed)
    matrix = reference.random_matrix(random, channels, columns, bits, block, zeros)
    x = activations(random, rows, columns)
    found = library.product_float(kernels, stored(matrix), x)
    expected, size = reference.product_float64(x, matrix)
    assert (np.abs(found - expected) <= 1e-6 * size).all()
    equal(found, library.product_float(library.kernels("scalar"), stored(matrix), x))


@pytest.mark.parametrize(("bits", "block", "zeros"), FORMATS)
def test_extreme_codes_and_activations(library, kernels, bits, block, zeros):
    random = np.random.default_rng(1)
    matrix = reference.random_matrix(random, 64, 1024, bits, block, zeros, extreme=True)
    signs = random.choice(np.array([-1, 1], np.float32), (14, 1024))
    signs[0], signs[1] = 1, -1
    for rows in (1, 3, 14):
        expected = reference.quantize(signs[:rows])
        assert set(np.unique(np.abs(expected.q))) == {127}
        found = library.product(kernels, stored(matrix), library.quantize(kernels, signs[:rows]), rows)
        equal(found, reference.product(expected, matrix))


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_the_largest_row(library, kernels, bits):
    """Sums of 65,536 products of the largest numbers stay within 32 bits."""
    columns = 65536
    zeros = np.array([[0], [(1 << bits) - 1]], np.uint8)
    codes = np.repeat(np.array([[(1 << bits) - 1], [0]], np.uint8), columns, axis=1)
    matrix = reference.Matrix(bits, 0, codes, np.ones((2, 1), np.float32), zeros)
    x = np.stack([np.ones(columns, np.float32), -np.ones(columns, np.float32)])
    found = library.product(kernels, stored(matrix), library.quantize(kernels, x), 2)
    equal(found, reference.product(reference.quantize(x), matrix))


@pytest.mark.parametrize("rows", [1, 29])
@pytest.mark.parametrize("block", [0, 32])
def test_threads_do_not_change_a_bit(library, kernels, rows, block):
    random = np.random.default_rng(2)
    matrix = reference.random_matrix(random, 1000, 320, 4, block, bool(block))
    x = activations(random, rows, 320)
    buffer = library.quantize(kernels, x)
    alone = library.product(kernels, stored(matrix), buffer, rows)
    exact = library.product_float(kernels, stored(matrix), x)
    for threads in (1, 2, 3, 7):
        pool = library.c.g4ops_pool_create(threads)
        try:
            assert library.quantize(kernels, x, pool=pool).tobytes() == buffer.tobytes()
            for _ in range(3):
                assert library.product(kernels, stored(matrix), buffer, rows, pool=pool).tobytes() == alone.tobytes()
                assert library.product_float(kernels, stored(matrix), x, pool=pool).tobytes() == exact.tobytes()
        finally:
            library.c.g4ops_pool_destroy(pool)


@pytest.mark.parametrize("block", [0, 128])
def test_rows_that_are_no_numbers(library, kernels, block):
    """Infinity and NaN make their row (or block) NaN, numbers too small to divide by count as zero."""
    x = np.random.default_rng(3).standard_normal((5, 300)).astype(np.float32)
    x[0, 7], x[1, 299], x[2], x[3] = np.inf, np.nan, 0, 1e-38
    expected = reference.quantize(x, block)
    assert np.isnan(expected.scales).any() and not expected.q[3].any()
    buffer = library.quantize(kernels, x, block)
    assert np.array_equal(buffer, np.frombuffer(reference.packed(expected), np.uint8))
    matrix = reference.random_matrix(np.random.default_rng(4), 40, 300, 4, 64)
    found = library.product(kernels, stored(matrix), buffer, 5, block)
    assert np.isnan(found[:2]).all() and not found[2:4].any() and np.isfinite(found[4]).all()


@pytest.mark.parametrize(("bits", "block", "zeros"), FORMATS)
def test_panels_and_lookup(library, bits, block, zeros):
    """Panels are those that the text of the layout makes, and rows come back out of them."""
    matrix = reference.random_matrix(np.random.default_rng(5), 77, 300, bits, block, zeros)
    equal(library.pack(bits, matrix.codes), matrix.panels().reshape(-1))
    ids = np.array([76, 0, 31, 32, 5, 5])
    equal(library.lookup(stored(matrix), ids), matrix.dequantized()[ids])


@pytest.mark.parametrize(("bits", "block", "zeros"), [(2, 64, True), (4, 32, True), (4, 128, False), (8, 0, False)])
def test_codes_stand_for_what_the_formats_say(library, bits, block, zeros):
    """The same codes, in the layout that the compiler stores today and in panels, are the same numbers."""
    matrix = reference.random_matrix(np.random.default_rng(6), 33, 256, bits, block, zeros)
    layout = BlockFormat(bits, block, symmetric=not zeros)
    codes = matrix.codes.reshape(33, -1, layout.width(256))
    scales = np.repeat(matrix.scales, codes.shape[1] // matrix.scales.shape[1], axis=1)
    expected = layout.dequantize(layout.pack(codes, scales, matrix.zeros), 256)
    equal(library.lookup(stored(matrix), np.arange(33)), expected)


def test_an_instruction_set_is_chosen_once_and_can_be_forced(library):
    code = """
import sys
from tests.native.library import Library
library = Library(sys.argv[1])
print(library.name(library.kernels()))
"""

    def chosen(forced):
        environment = {**os.environ, "G4OPS_INSTRUCTION_SET": forced}
        done = subprocess.run(
            [sys.executable, "-c", code, str(library.path)],
            check=False,
            capture_output=True,
            text=True,
            env=environment,
        )
        return done.stdout.strip() or done.stderr

    sets = library.instruction_sets()
    assert [chosen(name) for name in ("", *sets)] == [sets[0], *sets]
    assert "G4OPS_INSTRUCTION_SET names nothing that runs here" in chosen("mmx")
    with pytest.raises(Failed, match='no "mmx"'):
        library.kernels("mmx")
    assert library.c.g4ops_layout_version() == 1


def test_the_driver_agrees(built):
    done = subprocess.run([str(built / "driver"), "quick"], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
