"""Attention over caches and the writing of caches, against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.native.layers import NO_BLOCKS, TYPES, Cache, attention, expected_attention, rounded, write
from tests.native.library import Failed

quick = settings(
    derandomize=True, deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
# Of the largest result; measured: 2e-6 with each type of cache, against float64 over the numbers that the cache holds.
LIMIT = 1e-5


class Layer:
    """A layer that has seen ``past`` tokens: caches, and all keys and values as the caches round them."""

    def __init__(
        self,
        library,
        seed,
        *,
        kind="float32",
        batch=1,
        kv_heads=1,
        group=8,
        depth=64,
        past=0,
        new=1,
        window=0,
        ring=0,
        capacity=None,
    ):
        self.random = np.random.default_rng(seed)
        self.library, self.window, self.depth = library, window, depth
        slots = ring or capacity or past + new
        self.keys, self.values = (Cache.empty(kind, bool(ring), (batch, kv_heads, slots, depth)) for _ in range(2))
        shape = (batch, kv_heads, past + new, depth)
        # Rows differ in their size, as normed keys times a learned scale do.
        self.all = [self.random.standard_normal(shape).astype(np.float32) for _ in range(2)]
        self.query = self.random.standard_normal((batch, kv_heads * group, new, depth)).astype(np.float32)
        self.query *= np.float32(4 / depth**0.5)
        self.positions = np.tile(np.arange(past, past + new), (batch, 1))
        self.blocks = NO_BLOCKS
        step = max(1, min(slots // 2 if ring else past + new, past + new))
        for start in range(0, past + new, step):
            self.write(start, min(start + step, past + new))

    def write(self, start, end):
        at = np.ascontiguousarray(np.tile(np.arange(start, end), (len(self.query), 1)))
        for cache, all_of_it in zip((self.keys, self.values), self.all, strict=True):
            write(self.library, cache, np.ascontiguousarray(all_of_it[:, :, start:end]), at)

    def kept(self):
        """Keys and values [B, K, positions, D] as rounded, in float32."""
        kind = self.keys.type
        return [Cache(kind, False, *rounded(kind, part)).floats() for part in self.all]

    def run(self, kernels, pool=None, **more):
        caches = self.keys, self.values
        given = {"window": self.window, "scale": 1.0, "pool": pool, "blocks": self.blocks, **more}
        return attention(self.library, kernels, self.query, self.positions, *caches, **given)

    def check(self, kernels, scale=1.0):
        given = {"scale": scale, "window": self.window, "blocks": self.blocks}
        expected = expected_attention(self.query, self.positions, *self.kept(), **given)
        found = self.run(kernels, scale=scale)
        assert np.abs(found - expected).max() <= LIMIT * np.abs(expected).max()
        return found


@quick
@given(
    st.sampled_from(TYPES),
    st.sampled_from((8, 16, 24, 32, 40, 64, 128, 256, 512)),  # depth
    st.sampled_from((1, 3)),  # batch
    st.sampled_from(((1, 8), (2, 1), (2, 2), (1, 16), (2, 3), (4, 1), (1, 5))),  # heads of keys, queries for each
    st.integers(0, 400),  # past
    st.integers(1, 40),  # new
    st.sampled_from((0.0, 1.0, 0.3)),
    st.integers(0, 1 << 32),
)
def test_full_layers(library, kernels, kind, depth, batch, heads, past, new, scale, seed):
    layer = Layer(
        library, seed, kind=kind, batch=batch, kv_heads=heads[0], group=heads[1], depth=depth, past=past // batch,
        new=new, capacity=past // batch + new + seed % 3,
    )  # fmt: skip
    layer.check(kernels, scale)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("new", (1, 7, 8, 9, 40))
def test_windows_and_rings(library, kernels, kind, new):
    """Around the edges of a window of 8, of a ring and of a block of keys, in a ring and in a buffer for all."""
    window = 8
    for past in (0, 6, 7, 8, 9, 16, 31, 32, 33, 64, 100):
        for ring in {window - 1 + new, window + new, 64}:
            if ring >= window - 1 + new:
                given = {"kind": kind, "depth": 16, "group": 2, "past": past, "new": new, "window": window}
                Layer(library, past, ring=ring, **given).check(kernels)
                Layer(library, past, **given).check(kernels)


@pytest.mark.parametrize("kind", TYPES)
def test_a_window_of_512_in_a_ring(library, kernels, kind):
    for past in (510, 511, 512, 1500):
        Layer(library, past, kind=kind, depth=32, past=past, new=4, window=512, ring=560).check(kernels)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("window", (0, 8))
@pytest.mark.parametrize("within", (False, True))
def test_tokens_of_a_block_see_each_other(library, kernels, kind, window, within):
    """Blocks shorter and longer than the window and than 32 rows, joined with the window, or cut by it (``within``); in
    the tightest ring that holds them, and in a buffer for all."""
    for past, new, bounds in (
        (0, 1, ()),
        (20, 9, ((0, 3), (5, 9))),
        (50, 70, ((3, 68),)),
        (3, 90, ((0, 40), (41, 90))),
    ):
        starts, ends = (np.tile(np.arange(past, past + new), (2, 1)) for _ in range(2))
        for first, end in bounds:
            starts[:, first:end], ends[:, first:end] = past + first, past + end - 1
        for ring in (0, window - 1 + new) if window else (0,):
            given = {"kind": kind, "batch": 2, "kv_heads": 2, "group": 2, "depth": 16}
            layer = Layer(library, past, past=past, new=new, window=window, ring=ring, **given)
            layer.blocks = layer.positions if within else starts, ends
            layer.check(kernels)


def test_blocks_that_do_not_fit_are_refused(library):
    kernels, layer = library.kernels(), Layer(library, 1, past=30, new=4, depth=16, window=8, ring=12)
    at = layer.positions
    for blocks, words in (
        ((at + 1, at), r"the block 31\.\.30 does not hold its position 30"),
        ((at, at - 1), r"the block 30\.\.29 does not hold its position 30"),
        ((at - 31, at), r"the block -1\.\.30 does not hold its position 30"),
        ((at, None), "block_starts and block_ends go together"),
        ((None, at), "block_starts and block_ends go together"),
        ((np.full_like(at, 20), at), r"a ring of 12 slots cannot hold the keys at positions 20\.\.33"),
        ((at, np.full_like(at, 35)), r"a ring of 12 slots cannot hold the keys at positions 23\.\.35"),
        ((at, np.full_like(at, 1 << 41)), f"block_ends: position {1 << 41} has no slot"),
    ):
        with pytest.raises(Failed, match=words):
            layer.run(kernels, blocks=blocks)
    full = Layer(library, 1, past=30, new=2, depth=16)
    with pytest.raises(Failed, match="block_ends: position 32 has no slot in a cache of 32"):
        full.run(kernels, blocks=(full.positions, full.positions + 1))


def test_rewound_positions_see_no_later_keys(library, kernels):
    """Keys behind the position of a query are not read, whatever is in their slots."""
    layer = Layer(library, 5, past=60, new=8, depth=32)
    before = layer.run(kernels)
    layer.positions = layer.positions - 20
    layer.keys.numbers[:, :, 48:] = layer.values.numbers[:, :, 48:] = np.nan
    expected = expected_attention(layer.query, layer.positions, *layer.kept())
    found = layer.run(kernels)
    assert np.abs(found - expected).max() <= LIMIT * np.abs(expected).max()
    assert not np.array_equal(found, before)


@pytest.mark.parametrize("kind", TYPES)
def test_keys_outside_a_window_are_not_read(library, kernels, kind):
    layer = Layer(library, 5, kind=kind, past=299, new=1, depth=32, window=100, group=4)
    expected = layer.run(kernels)
    for cache in (layer.keys, layer.values):
        (cache.numbers if cache.scales is None else cache.scales)[:, :, :200] = np.nan
    np.testing.assert_array_equal(layer.run(kernels), expected)


def test_rows_have_positions_of_their_own(library, kernels):
    layer = Layer(library, 9, past=200, new=3, batch=3, depth=32)
    layer.positions = np.array([[7, 9, 8], [200, 201, 202], [0, 0, 150]])
    layer.check(kernels)


def test_large_scores_and_numbers_that_are_none(library, kernels):
    layer = Layer(library, 3, past=90, new=2, depth=16, group=2)
    layer.query *= 1e4  # one key takes all
    layer.check(kernels)
    layer.query[0, 1, 0, 3] = np.nan
    found = layer.run(kernels).reshape(2, 2, 16)
    assert np.isnan(found[0, 1]).all()
    assert np.isfinite(found[0, 0]).all() and np.isfinite(found[1]).all()


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(("past", "new", "window"), ((4000, 1, 0), (700, 1, 512), (300, 5, 0), (100, 90, 64)))
def test_threads_change_no_bit(library, kernels, kind, past, new, window):
    layer = Layer(library, 1, kind=kind, past=past, new=new, window=window, depth=32, kv_heads=2, group=4)
    if new > 8:
        layer.blocks = np.full_like(layer.positions, past), np.full_like(layer.positions, past + new - 1)
    expected = layer.run(kernels)
    for threads in (1, 2, 3, 7):
        pool = library.c.g4ops_pool_create(threads)
        np.testing.assert_array_equal(layer.run(kernels, pool), expected)
        library.c.g4ops_pool_destroy(pool)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("ring", (False, True))
def test_written_as_the_reference_rounds(library, kind, ring):
    random = np.random.default_rng(11)
    shape = (2, 3, 12, 40)
    cache = Cache.empty(kind, ring, shape)
    fresh = random.standard_normal((2, 3, 5, 40)).astype(np.float32) * np.float32(3)
    fresh[0, 0, 1] = 0
    fresh[0, 1, 2] = np.round(fresh[0, 1, 2]) + np.float32(0.5)  # halves
    fresh[0, 1, 2, 0] = 127
    fresh[1, 2, 3] *= np.float32(1e-39)  # below the normal numbers
    fresh[1, 0, 4] *= np.float32(1e30)
    first = 100 if ring else 6
    positions = np.arange(first, first + 5) + np.array([[0], [1]])
    write(library, cache, fresh, positions)
    expected = Cache.empty(kind, ring, shape)
    numbers, scales = rounded(kind, fresh)
    for b in range(2):
        expected.numbers[b, :, positions[b] % 12] = numbers[b].swapaxes(0, 1)
        if scales is not None:
            expected.scales[b, :, positions[b] % 12] = scales[b].swapaxes(0, 1)
    np.testing.assert_array_equal(cache.numbers, expected.numbers)
    if scales is not None:
        np.testing.assert_array_equal(cache.scales, expected.scales)


def test_codes_of_the_smallest_numbers(library):
    """A scale below the normal numbers is coarse: codes end at 127 and do not wrap."""
    cache = Cache.empty("int8", False, (1, 1, 1, 8))
    smallest = np.float32(2.0**-149)
    fresh = (np.array([136, -136, 1, 0, 64, -64, 127, 2], np.float32) * smallest).reshape(1, 1, 1, 8)
    write(library, cache, fresh, np.zeros((1, 1), np.int64))
    assert cache.scales.item() == smallest
    assert cache.numbers.ravel().tolist() == [127, -127, 1, 0, 64, -64, 127, 2]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("bad", (np.nan, np.inf))
def test_what_is_no_number_stays_none(library, kernels, kind, bad):
    """No code of int8 stands for it: the scale of its token does."""
    layer = Layer(library, 2, kind=kind, past=20, new=1, depth=16, group=1)
    layer.all[1][:, :, 4, 7] = bad
    layer.write(4, 5)
    assert not np.isfinite(layer.run(kernels)[0, 0, 7])


@pytest.mark.parametrize(
    ("changes", "words"),
    (
        ({"depth": 20, "numbers_bytes": 4 * 4 * 20}, "the size of a head is 20, no multiple of 8"),
        ({"depth": 2048}, "the size of a head is 2048, not in 8..1024"),
        ({"heads": 0}, "the number of heads of keys is 0"),
        ({"batch": -1}, "the batch is -1"),
        ({"batch": 1 << 16, "heads": 1 << 12, "slots": 1 << 24, "depth": 1 << 10, "numbers_bytes": 0}, "the batch is"),
        (
            {"batch": 1 << 12, "heads": 1 << 12, "slots": 1 << 24, "depth": 1 << 10},
            "keys has 256 bytes, not 1152921504606846976",
        ),
        ({"slots": 1 << 40}, "the number of slots is"),
        ({"numbers_bytes": 16}, "keys has 16 bytes, not"),
        ({"numbers": None}, "keys is missing"),
        ({"type": 7}, "keys has an unknown type"),
        ({"type": 2}, "keys has"),
        ({"scales_bytes": 4}, "keys' scales has 4 bytes, not 0"),
        ({"ring": 1}, "keys and values differ"),
    ),
)
def test_wrong_sizes_are_refused(library, changes, words):
    layer = Layer(library, 1, past=3, new=1, depth=16, group=3, kv_heads=1)
    with pytest.raises(Failed, match=words):
        layer.run(library.kernels(), **changes)


def test_wrong_heads_windows_and_positions_are_refused(library):
    layer = Layer(library, 1, past=30, new=2, depth=16, kv_heads=2, group=2, window=8, ring=12)
    kernels = library.kernels()
    with pytest.raises(Failed, match="window is -1"):
        layer.run(kernels, window=-1)
    with pytest.raises(Failed, match=r"a ring of 12 slots cannot hold the keys at positions 19\.\.31"):
        layer.run(kernels, window=12)
    layer.query = np.ascontiguousarray(layer.query[:, :3])
    with pytest.raises(Failed, match="3 heads, which the 2 heads of keys do not divide"):
        layer.run(kernels)
    full = Layer(library, 1, past=30, new=2, depth=16)
    for position in (-1, 32, 1 << 50, -(1 << 63)):
        full.positions = np.array([[3, position]])
        with pytest.raises(Failed, match=f"position {position} has no slot in a cache of 32"):
            full.run(kernels)
        with pytest.raises(Failed, match=f"position {position} has no slot in a cache of 32"):
            write(library, full.keys, np.zeros((1, 1, 2, 16), np.float32), full.positions)
