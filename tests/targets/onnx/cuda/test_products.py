"""Products by their plans, in Triton's interpreter, against the reference: every condition, form and activation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.targets.onnx.cuda.nodes import assert_close, case, coded, normal

ROWS = ((1, 1), (2, 1), (1, 16), (3, 7), (1, 64), (2, 40))  # a row, and every size of a tile
EPSILON = 1e-6


def norm_product(batch, new, columns, widths, activation="none", present="ABC", bits=16, block=0, seed=1):
    """``present``: A what is added, B the scalar, C the norm."""
    h, p = 3 * normal(seed, batch, new, columns), normal(seed + 1, batch, new, columns)
    post, pre = 1 + 0.1 * normal(seed + 2, columns), 1 + 0.1 * normal(seed + 3, columns)
    pairs = [coded(seed + 4 + i, bits, block, width, columns) for i, width in enumerate(widths)]
    weights, scales = ([pair[part] for pair in pairs] + [None] * (3 - len(pairs)) for part in (0, 1))
    more, gate = {}, None
    if activation == "gate":
        gate, more = normal(seed + 7, batch, new, 3, widths[0]), {"layer": 2}
    elif activation == "softcap":
        more = {"cap": 5.0}
    before = [p if "A" in present else None, post if "A" in present else None]
    before += [np.array([0.7], np.float32) if "B" in present else None, pre if "C" in present else None]
    return case(
        "NormLogits" if activation == "softcap" else "NormProduct",
        *(h, *before, *weights, *scales, gate),
        dynamic={1: 2, 11: 2},
        activation=activation, epsilon=EPSILON, bits=bits, block=block, **more,
    )  # fmt: skip


def check(given, interpreter, way=0):
    """y; and v and x where the plan has them."""
    outputs, _ = given.run(interpreter, way)
    rows = given.operands[0].shape[0] * given.operands[0].shape[1]
    y, v, x = given.reference()
    assert_close(outputs[0], y)
    if given.operands[1] is not None or given.operands[3] is not None:
        assert_close(outputs[1], v)
    if rows > 1:
        assert_close(outputs[2], x)


@pytest.mark.parametrize("rows", ROWS[:3])
@pytest.mark.parametrize("present", ["".join(one) for n in range(4) for one in itertools.combinations("ABC", n)])
def test_what_stands_in_front_of_a_product(rows, present, interpreter):
    """Three matrices side by side; sizes that no block divides."""
    check(norm_product(*rows, 80, (48, 16, 32), present=present), interpreter)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("activation", ["none", "geglu", "gate", "softcap"])
def test_activations(rows, activation, interpreter):
    widths = {"none": (80, 16, 48), "geglu": (80, 80)}.get(activation, (80,))
    check(norm_product(*rows, 96, widths, activation), interpreter)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize(
    ("bits", "block"), [(8, 32), (4, 32), (4, 128), pytest.param(8, 128, marks=pytest.mark.nightly)]
)
@pytest.mark.parametrize("activation", ["none", "geglu"])
def test_codes(rows, bits, block, activation, interpreter):
    widths = {"none": (48, 16, 80), "geglu": (80, 80)}[activation]
    check(norm_product(*rows, 176, widths, activation, bits=bits, block=block), interpreter)


@pytest.mark.parametrize("rows", ROWS[:4])
@pytest.mark.parametrize("bits", [16, 8, 4])
@pytest.mark.parametrize("activation", ["none", "gate", "geglu"])
def test_uneven_sizes(rows, bits, activation, interpreter):
    """No size is a multiple of the widest load."""
    widths = {"none": (6, 10, 2), "geglu": (18, 18), "gate": (22,)}[activation]
    check(norm_product(*rows, 58, widths, activation, bits=bits, block=32), interpreter)


@pytest.mark.parametrize("rows", [ROWS[1], ROWS[3], ROWS[5]])
@pytest.mark.parametrize("bits", [16, 8, 4])
def test_last_ways(rows, bits, interpreter):
    check(norm_product(*rows, 144, (80, 80), "geglu", bits=bits, block=32), interpreter, way=-1)
    check(norm_product(*rows, 144, (80, 16, 32), "none", bits=bits, block=32), interpreter, way=-1)


@pytest.mark.parametrize("rows", [(1, 1), (2, 1)])
@pytest.mark.parametrize(("bits", "block"), [(16, 0), (8, 64), (4, 32)])
def test_plain_products(rows, bits, block, interpreter):
    """More columns than a program holds at once."""
    columns = 4096 + 176
    (first, second), (third, fourth) = coded(1, bits, block, 16, columns), coded(2, bits, block, 32, columns)
    given = case("Product", normal(3, *rows, columns), first, third, None, second, fourth, None, bits=bits, block=block)
    outputs, _ = given.run(interpreter)
    assert_close(outputs[0], given.reference()[0])


@pytest.mark.parametrize("rows", [(1, 1), (1, 3), (1, 70)])
def test_one_wrong_code_is_seen(rows, interpreter):
    given = norm_product(*rows, 176, (48,), bits=4, block=32)
    given.operands[5][47, 5, 7] ^= 0x10  # the last row's column 175
    outputs, _ = given.run(interpreter)
    given.operands[5][47, 5, 7] ^= 0x10
    with pytest.raises(AssertionError, match="of the greatest number"):
        assert_close(outputs[0], given.reference()[0])
