"""Attention over caches by its plan, in Triton's interpreter, against the reference: one token a sequence, and many."""

from __future__ import annotations

import numpy as np
import pytest

from tests.targets.onnx.cuda.nodes import assert_close, case, normal

FULL = {"window": 0, "slots": 640}
RING = {"window": 40, "slots": 96}
SHARED = {"writes": 0}
ALIKE = {"key_is_value": 1}


def at_night(*given):
    return pytest.param(*given, marks=pytest.mark.nightly)


def attention(
    positions, heads=4, kv_heads=2, width=32, window=0, slots=640, writes=1, key_is_value=0, turned=None, seed=1
):
    """``positions`` [B, S]; ``turned``: how many pairs of dimensions are rotated, or all. The caches hold numbers in
    all slots."""
    positions = np.array(positions, np.int64)
    batch, new = positions.shape
    kinds = heads + (kv_heads * (2 - key_is_value) if writes else 0)
    half = width // 2 if turned is None else turned
    angles = normal(seed, batch, new, half)
    caches = [normal(seed + i, batch, kv_heads, slots, width) for i in (1, 2)]
    norms = [1 + 0.1 * normal(seed + i, width) for i in (3, 4)]
    return case(
        "CachedAttention",
        normal(seed + 5, batch, new, kinds * width),
        positions,
        np.stack([np.cos(angles), np.sin(angles)], 2),
        norms[0] / np.float32(width**0.25),  # so that some keys weigh more than others, and none has all
        norms[1] / np.float32(width**0.25) if writes else None,
        *caches,
        dynamic={1: 2, 2: 2, 5: 1, 6: 1},
        heads=heads, kv_heads=kv_heads, head_dim=width, window=window, writes=writes, key_is_value=key_is_value,
        epsilon=1e-6,
    )  # fmt: skip


def check(given, interpreter, way=0):
    """The result; rows that are not in use are zeros; and what is in the caches behind it."""
    outputs, operands = given.run(interpreter, way)
    (wanted,) = given.reference()
    assert_close(outputs[0], wanted)
    for found, cache in zip(operands[5:7], given.operands[5:7], strict=True):
        np.testing.assert_allclose(found, cache, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("kind", [FULL, RING], ids=["full", "ring"])
@pytest.mark.parametrize(
    "positions",
    [
        *([0], [32], [40], [96], [3, -1, 577], [-1], [5, 70, -1, 129, 600]),
        *map(at_night, ([31], [39], [95], [639] * 5)),
    ],
    ids=str,
)
def test_one_token(positions, kind, interpreter):
    """First keys, blocks that are just full, rings behind their end, rows that are not in use, and several programs
    for the keys of one head."""
    check(attention([[one] for one in positions], **kind), interpreter)


@pytest.mark.parametrize(
    "more", [SHARED, ALIKE, {"turned": 4}, {**SHARED, "turned": 4}, {**ALIKE, "turned": 4}], ids=str
)
@pytest.mark.parametrize("kind", [FULL, RING], ids=["full", "ring"])
def test_forms_of_one_token(more, kind, interpreter):
    check(attention([[150], [7], [-1]], **kind, **more), interpreter)


@pytest.mark.parametrize(("heads", "kv_heads", "width"), [(2, 2, 16), (4, 4, 64), (8, 1, 32), (4, 2, 256), (16, 2, 32)])
@pytest.mark.parametrize("batch", [1, at_night(5)])
def test_groups_of_one_token(heads, kv_heads, width, batch, interpreter):
    given = attention([[260 + 7 * row] for row in range(batch)], heads, kv_heads, width, slots=300)
    check(given, interpreter)


@pytest.mark.parametrize("more", [{}, SHARED, {**ALIKE, "turned": 64}], ids=str)
@pytest.mark.parametrize("positions", [[3, -1, 299], *map(at_night, ([290], [130, 10, -1, 299, 128]))], ids=str)
def test_wide_heads_are_joined_by_a_kernel_of_their_own(positions, more, interpreter):
    check(attention([[one] for one in positions], 8, 1, 512, slots=300, **more), interpreter)


def test_more_sequences_than_are_split(interpreter):
    check(attention([[row - 1] for row in range(65)], 2, 1, 16, slots=64), interpreter)


def spread(*lengths, new):
    """Positions of sequences: the first, and how many of ``new`` are in use."""
    return [[first + i if i < used else -1 for i in range(new)] for first, used in lengths]


CHUNKS = {
    "first": spread((0, 5), new=5),
    "two": spread((0, 2), new=2),
    "blocks": spread((0, 50), (0, 50), new=50),
    "later": spread((61, 33), (0, 33), new=33),
    "wrapped": spread((400, 45), new=45),
    "unequal": spread((0, 5), (0, 24), (0, 1), new=24),
    "not in use": spread((70, 9), (0, 0), new=20),
}


@pytest.mark.parametrize("kind", [FULL, RING], ids=["full", "ring"])
@pytest.mark.parametrize("name", [at_night(name) if name == "two" else name for name in CHUNKS])
def test_many_tokens(name, kind, interpreter):
    check(attention(CHUNKS[name], **kind), interpreter)


@pytest.mark.parametrize("more", [SHARED, ALIKE, {"turned": 4}], ids=str)
@pytest.mark.parametrize("kind", [FULL, RING], ids=["full", "ring"])
def test_forms_of_many_tokens(more, kind, interpreter):
    check(attention(CHUNKS["later"], **kind, **more), interpreter)


@pytest.mark.parametrize(("heads", "kv_heads", "width"), [(2, 2, 16), (8, 1, 32), (8, 1, 512), at_night(16, 2, 16)])
def test_groups_of_many_tokens(heads, kv_heads, width, interpreter):
    check(attention(spread((100, 19), new=19), heads, kv_heads, width, slots=128), interpreter)


@pytest.mark.parametrize("width", [32, at_night(512)])
@pytest.mark.parametrize("kind", [FULL, RING], ids=["full", "ring"])
def test_last_ways(width, kind, interpreter):
    check(attention([[150], [7], [-1]], 4, 2, width, **kind), interpreter, way=-1)
    check(attention(CHUNKS["later"], 4, 2, width, **kind), interpreter, way=-1)
