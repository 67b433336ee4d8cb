"""Wrong sizes are refused in words, and never read: through the C entry points, of arrays that end where they say."""

from __future__ import annotations

import ctypes
import random

import numpy as np
import pytest

from tests.native import reference
from tests.native.library import Failed, Weights, pointer, stored


@pytest.fixture
def weights():
    return stored(reference.random_matrix(np.random.default_rng(0), 40, 100, 4, 32, True))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("bits", 3, "bits is 3, not 2, 4 or 8"),
        ("block", 16, "block is 16, not 0, 32, 64 or 128"),
        ("columns", 0, r"K is 0, not in 1\.\.65536"),
        ("columns", 65537, r"K is 65537"),
        ("columns", 129, r"codes has 4096 bytes, not 5120"),
        ("rows", 0, r"N is 0"),
        ("rows", 65, r"codes has 4096 bytes, not 6144"),
        ("codes", None, "codes is missing"),
        ("codes_bytes", 4095, "codes has 4095 bytes, not 4096"),
        ("scales_bytes", 0, "scales has 0 bytes, not 512"),
        ("scales", None, "scales is missing"),
        ("zero_points_bytes", 255, "zero_points has 255 bytes, not 256"),
        ("zero_points", None, "zero_points is missing"),
    ],
)
def test_what_is_wrong_is_said(library, kernels, weights, field, value, words):
    x = np.zeros((2, 100), np.float32)
    buffer = library.quantize(kernels, x)
    setattr(weights, field, value)
    for call in (
        lambda: library.product(kernels, weights, buffer, 2),
        lambda: library.product_float(kernels, weights, x),
        lambda: library.lookup(weights, np.array([0])),
    ):
        with pytest.raises(Failed, match=words):
            call()


def test_more_rows_than_there_can_be(library, weights):
    weights.rows = 1 << 40
    with pytest.raises(Failed, match=r"N is 1099511627776, not in 1\.\.16777216"):
        library.lookup(weights, np.array([0]))


def test_an_array_that_is_not_aligned(library, kernels, weights):
    weights.scales = weights.scales + 1
    with pytest.raises(Failed, match="scales is not aligned to 2 bytes"):
        library.lookup(weights, np.array([0]))


def test_activations_of_another_size(library, kernels, weights):
    buffer = library.quantize(kernels, np.zeros((2, 100), np.float32))
    for rows, block in ((1, 0), (3, 0), (2, 128)):
        if library.activations_bytes(rows, 100, block) != buffer.nbytes:
            with pytest.raises(Failed, match="packed has"):
                library.product(kernels, weights, buffer, rows, block)
    with pytest.raises(Failed, match="block is 64, not 0 or 128"):
        library.product(kernels, weights, buffer, 2, 64)
    assert library.activations_bytes(-1, 100) == library.activations_bytes(2, 0) == 0


@pytest.mark.parametrize("id_", [-1, 40, 1 << 40, -(1 << 63)])
def test_an_id_outside(library, weights, id_):
    with pytest.raises(Failed, match=rf"id {id_} is not in 0\.\.39"):
        library.lookup(weights, np.array([0, id_]))


def test_codes_too_large_to_pack(library):
    with pytest.raises(Failed, match="code 16 has more than 4 bits"):
        library.pack(4, np.full((1, 1), 16, np.uint8))
    with pytest.raises(Failed, match="panels has 5 bytes, not 512"):
        library.pack(4, np.zeros((1, 1), np.uint8), size=5)


def sizes_fuzz(library, kernels, seed, rounds):
    """Random formats with arrays of random sizes, some of them right: refused or computed, nothing else."""
    source, computed = random.Random(seed), 0
    for _ in range(rounds):
        bits, block = source.choice((2, 4, 8, 8, -1)), source.choice((0, 32, 64, 128, 7))
        columns, rows, count = source.randint(-1, 140), source.randint(-1, 70), source.randint(0, 15)
        panels, depth = -(-rows // 32), -(-columns // 32) * 32
        blocks = -(-depth // block) if block > 0 else 1
        right = [panels * depth * 4 * bits, panels * blocks * 32 * (2 if block else 4), panels * blocks * 32]
        wrong = [source.choice((size - 1, size + 1, size // 2, 0)) for size in right]
        taken = [one if source.random() < 0.8 else other for one, other in zip(right, wrong, strict=True)]
        arrays = [np.zeros(max(0, size), np.uint8) for size in taken]
        if source.random() < 0.5:
            arrays[2] = None
        fields = [part for array in arrays for part in (pointer(array), 0 if array is None else array.nbytes)]
        weights = Weights(bits, block, columns, rows, *fields)
        activation_block = source.choice((0, 128))
        size = library.activations_bytes(count, columns, activation_block) + source.choice((0, 0, 0, -4, 4))
        buffer = np.zeros(max(size, 0), np.uint8)
        y = np.zeros((count, max(rows, 0)), np.float32)
        status = library.c.g4ops_product(
            kernels, None, ctypes.byref(weights), pointer(buffer), buffer.nbytes, count, activation_block, pointer(y)
        )
        computed += status == 0
        assert status == 0 or library.error()
    return computed


def test_fuzz_of_sizes(library, kernels):
    assert 50 < sizes_fuzz(library, kernels, 0, 1500) < 1200


@pytest.mark.nightly
def test_fuzz_of_sizes_for_a_minute(library, kernels):
    for seed in range(1, 60):
        sizes_fuzz(library, kernels, seed, 20000)
