"""Attention in which every query sees every key, against NumPy in float64, alone and in ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.native.layers import encoder_attention, expected_attention
from tests.native.library import Failed
from tests.native.test_layer_ops import run

quick = settings(
    derandomize=True, deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
LIMIT = 1e-5  # of the largest result; measured: 2e-6


def operands(seed, batch, kv_heads, group, queries, keys, depth):
    random = np.random.default_rng(seed)
    query = random.standard_normal((batch, kv_heads * group, queries, depth)).astype(np.float32)
    both = random.standard_normal((2, batch, kv_heads, keys, depth)).astype(np.float32)
    return query * np.float32(4 / depth**0.5), np.ascontiguousarray(both[0]), np.ascontiguousarray(both[1])


def expected(query, keys, values, scale):
    last = np.full((len(query), query.shape[2]), keys.shape[2] - 1)
    return expected_attention(query, last, keys, values, scale=scale)


@quick
@given(
    st.sampled_from((1, 2)),
    st.sampled_from(((1, 1), (2, 1), (1, 3), (3, 2))),  # heads of keys, queries for each
    st.sampled_from((1, 2, 5, 33, 47, 48, 49, 97, 130)),  # queries
    st.sampled_from((1, 3, 15, 16, 17, 63, 64, 65, 128, 255, 256, 257, 600)),  # keys
    st.sampled_from((1, 8, 15, 16, 20, 64, 72, 80, 128, 144, 256, 512)),  # depth
    st.sampled_from((1.0, 0.3, 0.0)),
    st.integers(0, 1 << 32),
)
def test_sizes(library, kernels, batch, heads, queries, keys, depth, scale, seed):
    given = operands(seed, batch, *heads, queries, keys, depth)
    found, right = encoder_attention(library, kernels, *given, scale=scale), expected(*given, scale)
    assert np.abs(found - right).max() <= LIMIT * np.abs(right).max()


def test_an_image_of_the_largest_budget(library, kernels):
    """10,080 keys: sums over many blocks. Few queries, so that it is quick."""
    given = operands(3, 1, 1, 1, 60, 10_080, 64)
    right = expected(*given, 1.0)
    assert np.abs(encoder_attention(library, kernels, *given) - right).max() <= LIMIT * np.abs(right).max()


@pytest.mark.parametrize(("queries", "keys", "heads"), [(100, 300, 3), (500, 40, 2), (1, 700, 5), (6, 9000, 2)])
def test_threads_change_no_bit(library, kernels, queries, keys, heads):
    """Nor does it matter how many heads are packed at once: 9,000 keys are more than that memory holds of two."""
    given = operands(1, 2, heads, 2, queries, keys, 40)
    right = encoder_attention(library, kernels, *given)
    for threads in (1, 2, 3, 7):
        pool = library.c.g4ops_pool_create(threads)
        np.testing.assert_array_equal(encoder_attention(library, kernels, *given, pool=pool), right)
        library.c.g4ops_pool_destroy(pool)
    alone = encoder_attention(library, kernels, *(np.ascontiguousarray(one[1:, :, :]) for one in given))
    np.testing.assert_array_equal(alone, right[1:])


def test_large_scores_and_numbers_that_are_none(library, kernels):
    query, keys, values = operands(3, 1, 1, 2, 10, 300, 16)
    query *= np.float32(1e4)  # one key takes all
    right = expected(query, keys, values, 1.0)
    found = encoder_attention(library, kernels, query, keys, values)
    assert np.abs(found - right).max() <= LIMIT * np.abs(right).max()
    query[0, 1, 3, 5] = np.nan
    found = encoder_attention(library, kernels, query, keys, values).reshape(10, 2, 16)
    assert np.isnan(found[3, 1]).all()
    found[3, 1] = 0
    assert np.isfinite(found).all()
    values[0, 0, 70, 2] = np.inf
    assert not np.isfinite(encoder_attention(library, kernels, query, keys, values)).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch": -1}, "the batch is -1"),
        ({"heads": 3, "key_heads": 2}, "3 heads, which the 2 heads of keys do not divide"),
        ({"key_heads": 0}, "the number of heads of keys is 0"),
        ({"depth": 0}, "the size of a head is 0"),
        ({"depth": 2048}, r"the size of a head is 2048, not in 1\.\.1024"),
        ({"queries": -1}, "there are -1 queries"),
        ({"keys": 0}, "there are 0 keys"),
        ({"keys": 1 << 40}, "there are 1099511627776 keys"),
    ],
)
def test_wrong_sizes_are_refused(library, changes, words):
    with pytest.raises(Failed, match=words):
        encoder_attention(library, library.kernels(), *operands(1, 1, 1, 2, 3, 4, 8), **changes)


def test_nothing_to_attend(library, kernels):
    query, keys, values = operands(1, 1, 1, 2, 3, 4, 8)
    assert encoder_attention(library, kernels, query[:, :, :0], keys, values).shape == (1, 0, 16)
    assert encoder_attention(library, kernels, query[:0], keys[:0], values[:0]).shape == (0, 3, 16)


def test_the_op(library):
    query, keys, values = operands(5, 2, 2, 3, 70, 90, 24)
    right = encoder_attention(library, library.kernels(), query, keys, values, scale=0.25)
    given = {"query": query, "keys": keys, "values": values}
    for threads in (1, 3):
        (found,) = run(library, "EncoderAttention", given, threads=threads, scale=0.25)
        np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"query": np.zeros((1, 8, 4), np.float32)}, r"query has shape \[1, 8, 4\], not \[B, N, S, D\]"),
        ({"keys": np.zeros((1, 8, 4), np.float32)}, r"keys has shape \[1, 8, 4\], not \[B, K, T, D\]"),
        ({"keys": np.zeros((1, 1, 4, 9), np.float32)}, r"keys has shape \[1, 1, 4, 9\], not \[1, 1, 4, 8\]"),
        ({"values": np.zeros((1, 1, 5, 8), np.float32)}, r"values has shape \[1, 1, 5, 8\], not \[1, 1, 4, 8\]"),
        ({"keys": np.zeros((1, 3, 4, 8), np.float32)}, "2 heads, which the 3 heads of keys do not divide"),
        ({"scale": None}, "there is no float attribute scale"),
    ],
)
def test_the_op_refuses(library, changes, words):
    inputs = dict(zip(("query", "keys", "values"), operands(1, 1, 1, 2, 3, 4, 8), strict=True))
    given = {"scale": 1.0}
    for name, value in changes.items():
        (inputs if isinstance(value, np.ndarray) else given)[name] = value
    given = {name: value for name, value in given.items() if value is not None}
    with pytest.raises(Exception, match=f'EncoderAttention "the EncoderAttention": .*{words}'):
        run(library, "EncoderAttention", inputs, **given)
