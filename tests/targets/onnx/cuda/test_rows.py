"""Lookups, angles, inputs of layers and the likeliest token by their plans, in Triton's interpreter, against the
reference."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from g4compile.targets.kernels import row_kernels
from tests.targets.onnx.cuda.nodes import assert_close, case, coded, normal


@pytest.mark.parametrize(
    ("op", "bits", "block"),
    [("EmbedRows", 16, 0), ("EmbedRows", 8, 32), ("EmbedRowsNarrow", 4, 32), ("EmbedRowsNarrow", 4, 128)],
)
@pytest.mark.parametrize("width", [80, 58, 1104])
def test_embedded_rows(op, bits, block, width, interpreter):
    """Placeholders read the row `pad`; widths that no block, no load and no program divides."""
    table, scales = coded(1, bits, block, 50, width)
    ids = np.array([[3, 49, 0, 41], [44, 7, 42, 7]], np.int64)
    given = case(
        op, ids, table, scales, dynamic={0: 2}, placeholders=(41, 42, 44), pad=5, scale=6.5, width=width, bits=bits,
        block=block,
    )  # fmt: skip
    outputs, _ = given.run(interpreter)
    assert_close(outputs[0], given.reference()[0])


@pytest.mark.parametrize("holes", [(), (9,), (9, 8)])
def test_ids_beyond_the_table_read_its_first_row(holes, interpreter):
    """Those of rows that are not in use: no memory but the table's may be read."""
    table, ids = normal(1, 10, 32), np.array([[10, -1, 9, 1 << 40]], np.int64)
    given = case(
        "EmbedRows", ids, table, dynamic={0: 2}, placeholders=holes, pad=2, scale=1.0, width=32, bits=16, block=0
    )
    outputs, _ = given.run(interpreter)
    np.testing.assert_array_equal(outputs[0][0], table[[0, 0, 2 if 9 in holes else 9, 0]])


@pytest.mark.parametrize("half", [8, 24, 128])
def test_rotary_angles(half, interpreter):
    positions = np.array([[0, 1, 77], [131_071, -1, 5]], np.int64)
    frequencies = (1 / 10_000 ** (np.arange(half) / half)).astype(np.float32)
    given = case("RotaryAngles", positions, frequencies, dynamic={0: 2})
    outputs, _ = given.run(interpreter)
    assert_close(outputs[0], given.reference()[0])


@pytest.mark.parametrize(("layers", "width"), [(1, 16), (5, 64)])
def test_per_layer_inputs(layers, width, interpreter):
    both = layers * width
    given = case(
        "PerLayerInputs", normal(1, 2, 3, both), normal(2, 2, 3, both), 1 + 0.1 * normal(3, width),
        dynamic={0: 2, 1: 2}, projection_scale=0.125, scale=2**-0.5, epsilon=1e-6,
    )  # fmt: skip
    outputs, _ = given.run(interpreter)
    assert_close(outputs[0], given.reference()[0])


@pytest.mark.parametrize(("vocabulary", "kept"), [(1000, 1), (100, 3), (263_000, 1)])
def test_the_next_token_is_the_lowest_of_the_likeliest(vocabulary, kept, interpreter):
    """Ties within a piece of the vocabulary, and between pieces; a last token; other positions do not count."""
    logits = normal(1, 4, kept, vocabulary).astype(ml_dtypes.bfloat16).astype(np.float32)
    logits[:, :-1] += 100
    logits[0, -1, [17, 18, vocabulary - 1]] = 9
    logits[1, -1, [vocabulary - 1, vocabulary // 2]] = 9
    logits[2, -1, vocabulary - 1] = 9
    logits[3] = -3
    given = case("NextToken", logits, dynamic={0: 2})
    outputs, _ = given.run(interpreter)
    np.testing.assert_array_equal(outputs[0], given.reference()[0])
    np.testing.assert_array_equal(outputs[0][:, 0], [17, vocabulary // 2, vocabulary - 1, 0])


def test_no_token_where_no_position_has_logits(interpreter):
    given = case("NextToken", np.zeros((2, 0, 64), np.float32), dynamic={0: 2})
    outputs, _ = given.run(interpreter)
    assert outputs[0].shape == (2, 1)


@pytest.fixture
def small_pieces(monkeypatch):
    """Pieces of the vocabulary that the interpreter sorts in no time."""
    monkeypatch.setattr(row_kernels, "TOP_PIECE", 128)


@pytest.mark.parametrize("vocabulary", [40, 64, 100, 128, 129, 1000, 1025])
@pytest.mark.parametrize("kept", [1, 3])
def test_the_likeliest_tokens_in_order(vocabulary, kept, interpreter, small_pieces):
    """Ties within a piece of the vocabulary, and between pieces; other positions do not count. The order is total."""
    logits = normal(1, 3, kept, vocabulary).astype(ml_dtypes.bfloat16).astype(np.float32)
    logits[:, :-1] += 100
    logits[1, -1] = 7
    logits[2, -1, [5, vocabulary // 2, vocabulary - 1]] = 9, np.inf, 9
    logits[2, -1, 3] = -np.inf
    given = case("TopTokens", logits, dynamic={0: 2})
    (found, tokens, _), _ = given.run(interpreter)
    expected, order = given.reference()
    np.testing.assert_array_equal(tokens, order)
    np.testing.assert_array_equal(found, expected)
    assert tokens[1, :40].tolist() == list(range(40))


def test_pieces_as_they_are(interpreter):
    logits = normal(1, 1, 1, 5000)
    given = case("TopTokens", logits, dynamic={0: 2})
    (found, tokens, keys), _ = given.run(interpreter)
    expected, order = given.reference()
    np.testing.assert_array_equal(tokens, order)
    np.testing.assert_array_equal(found, expected)
    assert keys.shape == (1, 2, 64)


def test_zeros_of_both_signs_are_equal(interpreter, small_pieces):
    logits = np.full((1, 1, 300), -1, np.float32)
    logits[0, 0, 1::3], logits[0, 0, 2::3] = -0.0, 0.0
    (found, tokens, _), _ = case("TopTokens", logits, dynamic={0: 2}).run(interpreter)
    assert tokens[0].tolist() == [at for at in range(96) if at % 3]
    assert not np.signbit(found).any() and not found.any()


@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_no_number_comes_first(sign, interpreter, small_pieces):
    """So a choice sees it, whatever its sign."""
    logits = normal(1, 2, 1, 500)
    logits[1, 0, 450] = np.copysign(np.float32(np.nan), sign)
    (found, tokens, _), _ = case("TopTokens", logits, dynamic={0: 2}).run(interpreter)
    assert tokens[1, 0] == 450 and np.isnan(found[1, 0]) and np.isfinite(found[0]).all()
