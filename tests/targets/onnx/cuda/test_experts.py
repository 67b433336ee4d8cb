"""Routing, the experts' products and their sum by their plans, in Triton's interpreter, against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from g4compile.ops.expert_routing import route, tile_of
from g4compile.ops.geglu import gelu_tanh
from tests.targets.onnx.cuda.nodes import assert_close, case, coded, normal
from tests.targets.onnx.cuda.reference import matrix

ROWS = ((1, 1), (2, 1), (1, 20), (2, 33))  # a token by itself; tiles of 16, and of 64 rows
MANY = pytest.param((1, 1026), marks=pytest.mark.nightly)  # tiles of 128


def router(rows, width, experts, choices, tied=False):
    proj = normal(1, experts, width)
    if tied:  # pairs of experts that say the same
        proj[1::2] = proj[::2]
    return case(
        "Router", 3 * normal(2, *rows, width), 1 + 0.1 * normal(3, width), proj,
        np.random.default_rng(4).uniform(0.5, 2, experts).astype(np.float32), 1 + 0.1 * normal(5, width),
        dynamic={0: 2}, factor=width**-0.5, k=choices, epsilon=1e-6,
    )  # fmt: skip


@pytest.mark.parametrize("rows", [*ROWS, MANY])
@pytest.mark.parametrize(
    ("width", "experts", "choices", "tied"),
    [(80, 8, 2, False), (48, 6, 3, False), (64, 128, 8, False), (32, 8, 3, True), (32, 4, 4, False)],
)
def test_router(rows, width, experts, choices, tied, interpreter):
    """Every row stands in a slot of a tile of its expert, once; all other slots are empty."""
    given = router(rows, width, experts, choices, tied)
    (x, weights, slot_of, row_token, tile_expert, *_), _ = given.run(interpreter)
    want_x, want_weights, want_slot, want_token, want_expert = given.reference()
    tokens, tile = rows[0] * rows[1], row_token.shape[1]
    assert_close(x, want_x)
    assert_close(weights, want_weights)
    assert tile == (1 if tokens == 1 else tile_of(tokens)) and tile_expert.shape == row_token.shape[:1]
    chosen = want_expert[want_slot // (len(want_token) // len(want_expert))]
    np.testing.assert_array_equal(tile_expert[slot_of // tile], chosen)
    flat = row_token.reshape(-1)
    np.testing.assert_array_equal(flat[slot_of], np.arange(tokens)[:, None].repeat(choices, 1))
    assert len(set(slot_of.reshape(-1))) == slot_of.size and (flat >= 0).sum() == slot_of.size
    assert ((tile_expert >= 0) | (row_token == -1).all(1)).all()
    assert ((tile_expert >= -1) & (tile_expert < experts)).all() and (row_token >= -1).all()


def routed(tokens, experts, choices, one=False):
    """row_token [tiles, rows of a tile], tile_expert, and the slots of rows; a tile of one row where ``one``."""
    random = np.random.default_rng(6)
    index = np.stack([random.permutation(experts - 1)[:choices] for _ in range(tokens)])  # one expert has no token
    if one:
        return np.zeros((choices, 1), np.int32), index[0].astype(np.int32), np.arange(choices, dtype=np.int32)[None]
    tile = tile_of(tokens)
    row_token, tile_expert, slot_of = route(index, experts, tile)
    return row_token.reshape(-1, tile), tile_expert, slot_of


@pytest.mark.parametrize("rows", [*ROWS, MANY])
@pytest.mark.parametrize(("width", "inner"), [(144, 80), (58, 22)])
@pytest.mark.parametrize(("bits", "block"), [(16, 0), (8, 32), (4, 32), (4, 128)])
def test_products_of_experts(rows, width, inner, bits, block, interpreter):
    check_products(rows, width, inner, bits, block, interpreter)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(("bits", "block"), [(16, 0), (8, 32), (4, 32)])
def test_last_ways(rows, bits, block, interpreter):
    check_products(rows, 96, 80, bits, block, interpreter, way=-1)


def check_products(rows, width, inner, bits, block, interpreter, way=0):
    tokens, experts, choices = rows[0] * rows[1], 5, 3
    row_token, tile_expert, _ = routed(tokens, experts, choices, tokens == 1)
    x, flat, tile = normal(1, *rows, width), row_token.reshape(-1), row_token.shape[1]
    gate_up, up_scales = coded(2, bits, block, experts, 2 * inner, width)
    down, down_scales = coded(3, bits, block, experts, width, inner)
    common = {"dynamic": {0: 2, 1: 1, 2: 1}, "bits": bits, "block": block}
    outputs, _ = case("RoutedGateUp", x, row_token, tile_expert, gate_up, up_scales, **common).run(interpreter, way)
    used, expert = np.nonzero(flat >= 0)[0], tile_expert.repeat(tile)
    weights = matrix(gate_up, up_scales, width, bits)[expert[used]]
    both = np.einsum("sk,snk->sn", x.reshape(-1, width)[flat[used]], weights)
    hidden = outputs[0]
    assert hidden.shape == (len(flat), inner)
    assert_close(hidden[used], gelu_tanh(both[:, :inner]) * both[:, inner:])
    common["dynamic"] = {0: 1, 1: 1, 2: 1}
    outputs, _ = case("RoutedDown", hidden, row_token, tile_expert, down, down_scales, **common).run(interpreter, way)
    weights = matrix(down, down_scales, inner, bits)[expert[used]]
    assert outputs[0].shape == (len(flat), width)
    assert_close(outputs[0][used], np.einsum("sk,snk->sn", hidden[used], weights))


@pytest.mark.parametrize("rows", ROWS[:3])
@pytest.mark.parametrize("width", [80, 58])
def test_expert_sum(rows, width, interpreter):
    """Slots that nobody has hold anything."""
    row_token, _, slot_of = routed(rows[0] * rows[1], 5, 3)
    out = normal(1, row_token.size, width)
    out[row_token.reshape(-1) < 0] = np.nan
    weights = np.random.default_rng(2).uniform(0.1, 1, slot_of.shape).astype(np.float32)
    given = case(
        "ExpertSum", normal(3, *rows, width), 1 + 0.1 * normal(4, width), out, slot_of, weights,
        1 + 0.1 * normal(5, width), dynamic={0: 2, 2: 1, 3: 1, 4: 1}, epsilon=1e-6,
    )  # fmt: skip
    outputs, _ = given.run(interpreter)
    assert_close(outputs[0], given.reference()[0])
