"""What ONNX Runtime says when operands or attributes of an op are wrong: the op, the operand, and what was expected."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tests.native import graphs, reference

MATRIX = reference.random_matrix(np.random.default_rng(0), 40, 100, 4, 32, True)
WHOLE_ROWS = reference.random_matrix(np.random.default_rng(0), 40, 100, 4, 0)
X = np.ones((2, 100), np.float32)


def load(library, matrix=MATRIX, **given):
    return graphs.session(library.path, graphs.linear(matrix, **given))


@pytest.mark.parametrize("op", ["QLinear", "QGather"])
@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"bits": 3}, "bits is 3, not 2, 4 or 8"),
        ({"bits": None}, "there is no integer attribute bits"),
        ({"bits": "four"}, "there is no integer attribute bits"),
        ({"block": 256}, "block is 256, not 0, 32, 64 or 128"),
        ({"K": 0}, r"K is 0, not in 1\.\.65536"),
        ({"K": 1 << 62}, "K is 4611686018427387904"),
        ({"N": -5}, r"N is -5, not in 1\.\.16777216"),
        ({"K": 129}, r"codes has shape \[2, 2048\], not \[2, 2560\]"),
        ({"N": 65}, r"codes has shape \[2, 2048\], not \[3, 2048\]"),
        ({"bits": 8}, r"codes has shape \[2, 2048\], not \[2, 4096\]"),
        ({"block": 64}, r"scales has shape \[2, 4, 32\], not \[2, 2, 32\]"),
        ({"block": 0}, r"scales is bfloat16, not float32"),
    ],
)
def test_attributes(library, op, attributes, words):
    kind = graphs.IDS if op == "QGather" else graphs.FLOAT
    with pytest.raises(Exception, match=rf'{op} "the {op}": {words}'):
        load(library, op=op, x_type=kind, **attributes)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"activations": "int4"}, 'activations is "int4", not "int8" or "float32"'),
        ({"activation_block": 64}, "activation_block is 64, not 0 or 128"),
        ({"activations": "float32", "activation_block": 128}, 'activation_block is for activations "int8"'),
    ],
)
def test_attributes_of_activations(library, attributes, words):
    with pytest.raises(Exception, match=words):
        load(library, **attributes)


@pytest.mark.parametrize(
    ("operand", "change", "words"),
    [
        ("codes", lambda a: a[:, :-1], r"codes has shape \[2, 2047\], not \[2, 2048\]"),
        ("codes", lambda a: a.reshape(-1), r"codes has shape \[4096\]"),
        ("scales", lambda a: a[:1], r"scales has shape \[1, 4, 32\], not \[2, 4, 32\]"),
        ("scales", lambda a: a.astype(np.float32), "scales is float32, not bfloat16"),
        ("zero_points", lambda a: a[:, :3], r"zero_points has shape \[2, 3, 32\], not \[2, 4, 32\]"),
    ],
)
def test_operands(library, operand, change, words):
    arrays = graphs.weights(MATRIX)
    arrays[operand] = np.ascontiguousarray(change(arrays[operand]))
    with pytest.raises(Exception, match=words):
        load(library, arrays=arrays)


def test_scales_of_whole_rows(library):
    arrays = graphs.weights(WHOLE_ROWS)
    arrays["scales"] = arrays["scales"][:40]
    with pytest.raises(Exception, match=r"scales has shape \[40\], not \[64\]"):
        load(library, WHOLE_ROWS, arrays=arrays)


def test_inputs_of_another_shape(library):
    session = load(library)
    with pytest.raises(Exception, match=r"x has shape \[2, 99\], not \[\.\., 100\]"):
        session.run(None, {"x": X[:, :99]})
    with pytest.raises(Exception, match=r"x has shape \[\], not \[\.\., 100\]"):
        session.run(None, {"x": np.array(1, np.float32)})


def test_packed_activations_of_another_size(library):
    session = load(library, x_type=graphs.BYTES)
    row = library.activations_bytes(1, 100)
    session.run(None, {"x": np.zeros((2, row), np.uint8)})
    for width in (row - 1, row + 4, 100, 0):
        with pytest.raises(Exception, match=rf"x has shape \[2, {width}\], not \[\.\., {row}\]"):
            session.run(None, {"x": np.zeros((2, width), np.uint8)})


def test_inputs_of_another_type(library):
    with pytest.raises(Exception, match="x is neither float32 nor packed activations of type uint8"):
        load(library, x_type=graphs.IDS).run(None, {"x": np.zeros((2, 100), np.int64)})
    with pytest.raises(Exception, match="x is neither float32"):
        load(library, x_type=graphs.BYTES, activations="float32").run(None, {"x": np.zeros((2, 100), np.uint8)})


@pytest.mark.parametrize("id_", [-1, 40, 1 << 62])
def test_ids_outside(library, id_):
    session = load(library, op="QGather", x_type=graphs.IDS)
    with pytest.raises(Exception, match=rf'QGather "the QGather": ids holds {id_} at place 2, not in 0\.\.39'):
        session.run(None, {"x": np.array([[0, 1], [id_, 2]])})


def test_quantising_another_width(library):
    nodes = [graphs.node("QuantizeActivations", ["x"], ["q"], K=101)]
    built = graphs.model(nodes, {"x": (graphs.FLOAT, None)}, {"q": graphs.BYTES}, [])
    with pytest.raises(Exception, match=r"x has shape \[2, 100\], not \[\.\., 101\]"):
        graphs.session(library.path, built).run(None, {"x": X})


def fuzz(library, seed, rounds):
    """Any bytes are packed activations of the right size; any other size is refused. Returns both counts."""
    source, sessions, counts = random.Random(seed), {}, [0, 0]
    for _ in range(rounds):
        bits, block = source.choice((2, 4, 8)), source.choice((0, 32, 64, 128))
        if (bits, block) not in sessions:
            matrix = reference.random_matrix(np.random.default_rng(bits), 40, 100, bits, block, bool(block))
            sessions[bits, block] = load(library, matrix, x_type=graphs.BYTES)
        shape = [source.randint(0, 15), library.activations_bytes(1, 100) + source.choice((0, 0, -32, -4, -1, 1, 64))]
        x = np.frombuffer(source.randbytes(shape[0] * shape[1]), np.uint8).reshape(shape)
        try:
            sessions[bits, block].run(None, {"x": x})
            counts[0] += 1
        except Exception as error:  # ONNX Runtime has a type for each kind of status
            assert "x has shape" in str(error)
            counts[1] += 1
    return counts


def test_fuzz_of_packed_activations(library):
    assert min(fuzz(library, 0, 300)) > 50


@pytest.mark.nightly
def test_fuzz_of_packed_activations_for_a_minute(library):
    for seed in range(1, 40):
        fuzz(library, seed, 5000)
