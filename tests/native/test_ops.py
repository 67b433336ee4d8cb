"""The ops of domain g4 in ONNX Runtime: the same bits as the kernels, from weights that stay where they are mapped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.native import graphs, reference
from tests.native.building import output
from tests.native.layers import geglu

FORMATS = [(2, 0, False), (4, 0, True), (8, 0, False), (2, 64, True), (4, 32, True), (4, 128, False), (8, 128, False)]


def numbers(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def made(bits, block, zeros, rows=70, columns=200):
    return reference.random_matrix(np.random.default_rng(bits + block), rows, columns, bits, block, zeros)


def expected(x, matrix, block=0):
    flat = x.reshape(-1, x.shape[-1])
    return reference.product(reference.quantize(flat, block), matrix).reshape(*x.shape[:-1], -1)


@pytest.mark.parametrize(("bits", "block", "zeros"), FORMATS)
def test_a_product(library, bits, block, zeros):
    matrix = made(bits, block, zeros)
    session = graphs.session(library.path, graphs.linear(matrix))
    for shape in ((200,), (1, 200), (2, 3, 200), (37, 200), (2, 1, 0, 200)):
        x = numbers(shape)
        (found,) = session.run(None, {"x": x})
        assert found.shape == (*shape[:-1], 70)
        if x.size:
            np.testing.assert_array_equal(found, expected(x, matrix))


@pytest.mark.parametrize(("bits", "block", "zeros"), FORMATS)
def test_an_exact_product(library, bits, block, zeros):
    matrix, x = made(bits, block, zeros), numbers((5, 200))
    session = graphs.session(library.path, graphs.linear(matrix, activations="float32"))
    right, size = reference.product_float64(x, matrix)
    assert (np.abs(session.run(None, {"x": x})[0] - right) <= 1e-6 * size).all()


def gated(first, second, **more):
    """y = QGeGLU (x) of two matrices of one size."""
    arrays = {}
    for prefix, matrix in (("gate", first), ("up", second)):
        arrays |= {f"{prefix}_{name}": array for name, array in graphs.weights(matrix).items()}
    order = ["gate_codes", "gate_scales", "up_codes", "up_scales", "gate_zero_points", "up_zero_points"]
    names = [name if name in arrays else "" for name in order]
    rows, columns = first.shape
    given = {"K": columns, "N": rows, "gate_bits": first.bits, "gate_block": first.block, "up_bits": second.bits,
             "up_block": second.block, **more}  # fmt: skip
    nodes = [graphs.node("QGeGLU", ["x", *names], ["y"], **given)]
    initializers = [graphs.initializer(name, array) for name, array in arrays.items()]
    return graphs.model(nodes, {"x": (graphs.FLOAT, None)}, {"y": graphs.FLOAT}, initializers)


@pytest.mark.parametrize("formats", [((4, 0, False), (4, 0, False)), ((4, 32, True), (8, 0, False)),
                                     ((2, 0, False), (4, 128, True))])  # fmt: skip
def test_a_gated_unit(library, formats):
    """To the bit what two products and their activation give."""
    first, second = (made(*one) for one in formats)
    session = graphs.session(library.path, gated(first, second))
    for shape in ((200,), (2, 3, 200), (37, 200), (2, 0, 200)):
        x = numbers(shape)
        (found,) = session.run(None, {"x": x})
        assert found.shape == (*shape[:-1], 70)
        if x.size:
            np.testing.assert_array_equal(found, geglu(expected(x, first), expected(x, second)))


def test_a_gated_unit_of_float32_operands(library):
    first, second, x = made(4, 32, True), made(8, 0, False), numbers((5, 200))
    (found,) = graphs.session(library.path, gated(first, second, activations="float32")).run(None, {"x": x})
    right = geglu(*(reference.product_float64(x, one)[0].astype(np.float32) for one in (first, second)))
    np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-5 * np.abs(right).max())


@pytest.mark.parametrize(("given", "words"), [({"gate_bits": 3}, "bits"), ({"K": 100}, "gate_codes"),
                                              ({"N": 32}, "gate_codes"), ({"activation_block": 64}, "activation_block"),
                                              ({"up_bits": 8}, "up_codes")])  # fmt: skip
def test_a_gated_unit_of_other_sizes(library, given, words):
    with pytest.raises(Exception, match=f'QGeGLU "the QGeGLU": .*{words}'):
        graphs.session(library.path, gated(made(4, 0, False), made(4, 0, False), **given))


def test_a_scale_for_each_block_of_a_row(library):
    matrix, x = made(4, 32, False), numbers((3, 200))
    (found,) = graphs.session(library.path, graphs.linear(matrix, activation_block=128)).run(None, {"x": x})
    np.testing.assert_array_equal(found, expected(x, matrix, 128))


@pytest.mark.parametrize("block", [0, 128])
def test_products_share_quantised_activations(library, block):
    """Three formats read what was quantised once, and give what each gives alone."""
    matrices = [made(4, 0, False), made(2, 64, True, rows=33), made(8, 128, False, rows=5)]
    nodes = [graphs.node("QuantizeActivations", ["x"], ["q"], K=200, activation_block=block)]
    initializers = []
    for index, matrix in enumerate(matrices):
        arrays = {f"{name}{index}": array for name, array in graphs.weights(matrix).items()}
        initializers += [graphs.initializer(name, array) for name, array in arrays.items()]
        given = graphs.attributes(matrix, activation_block=block)
        nodes.append(graphs.node("QLinear", ["q", *arrays], [f"y{index}"], f"product {index}", **given))
    outputs = {"q": graphs.BYTES, **{f"y{index}": graphs.FLOAT for index in range(3)}}
    built = graphs.model(nodes, {"x": (graphs.FLOAT, None)}, outputs, initializers)
    x = numbers((2, 9, 200))
    packed, *found = graphs.session(library.path, built, threads=2).run(None, {"x": x})
    assert packed.tobytes() == reference.packed(reference.quantize(x.reshape(18, 200), block))
    for one, matrix in zip(found, matrices, strict=True):
        np.testing.assert_array_equal(one, expected(x, matrix, block))


@pytest.mark.parametrize(("bits", "block", "zeros"), FORMATS)
def test_a_lookup(library, bits, block, zeros):
    matrix = made(bits, block, zeros)
    session = graphs.session(library.path, graphs.linear(matrix, x_type=graphs.IDS, op="QGather"))
    for ids in (np.array([[0, 69], [31, 32]]), np.array(5), np.zeros((2, 0), np.int64)):
        np.testing.assert_array_equal(session.run(None, {"x": ids})[0], matrix.dequantized()[ids])


def test_weights_may_be_inputs(library):
    """They need not be constant: then each call checks them."""
    matrix, x = made(4, 32, True), numbers((3, 200))
    arrays = graphs.weights(matrix)
    nodes = [graphs.node("QLinear", ["x", *arrays], ["y"], **graphs.attributes(matrix))]
    kinds = {"x": graphs.FLOAT, "codes": graphs.BYTES, "scales": graphs.FLOAT, "zero_points": graphs.BYTES}
    # NumPy has no bfloat16 that ONNX Runtime takes, so the scales pass a cast, which is exact.
    nodes.insert(0, helper.make_node("Cast", ["wide"], ["scales"], to=TensorProto.BFLOAT16))
    inputs = {("wide" if name == "scales" else name): (kind, None) for name, kind in kinds.items()}
    session = graphs.session(library.path, graphs.model(nodes, inputs, {"y": graphs.FLOAT}, []))
    feeds = {"x": x, **arrays, "wide": reference.from_bfloat16(arrays["scales"])}
    del feeds["scales"]
    np.testing.assert_array_equal(session.run(None, feeds)[0], expected(x, matrix))
    with pytest.raises(Exception, match=r"codes has shape \[3, 14335\], not \[3, 14336\]|codes has shape"):
        session.run(None, {**feeds, "codes": arrays["codes"][:, :-1]})


def test_what_a_task_throws_ends_the_call(built):
    """And not the process: ONNX Runtime's threads know no exceptions."""
    assert output(str(built / "tasks")) == "0 wrong\n"


def test_threads_and_sessions_do_not_change_a_bit(library):
    matrix, x = made(4, 32, True, rows=1000, columns=320), numbers((30, 320))
    found = {
        graphs.session(library.path, graphs.linear(matrix), threads=threads).run(None, {"x": x})[0].tobytes()
        for threads in (1, 2, 3)
    }
    assert len(found) == 1


_MEASURE = """
import sys
import numpy as np
from tests.native import graphs

def anonymous():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))

session = graphs.session(sys.argv[1], sys.argv[2])
x = np.ones((1, 2048), np.float32)
del session
before = anonymous()
session = graphs.session(sys.argv[1], sys.argv[2])
session.run(None, {"x": x})
print(anonymous() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc: memory cannot be measured")
def test_weights_stay_where_they_are_mapped(library, tmp_path):
    """32 MB of codes in a file beside the graph: loading and a product add next to no memory of the process's own."""
    rows, columns = 32768, 2048
    codes = np.full((rows // 32, columns * 16), 0x99, np.uint8)
    codes.tofile(tmp_path / "weights.data")
    attributes = {"bits": 4, "block": 0, "K": columns, "N": rows}
    built = graphs.model(
        [graphs.node("QLinear", ["x", "codes", "scales"], ["y"], **attributes)],
        {"x": (graphs.FLOAT, None)},
        {"y": graphs.FLOAT},
        [graphs.initializer("scales", np.ones(rows, np.float32))],
    )
    outside = TensorProto(name="codes", data_type=graphs.BYTES, dims=codes.shape, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "weights.data"), ("offset", 0), ("length", codes.nbytes)):
        outside.external_data.add(key=key, value=str(value))
    built.graph.initializer.append(outside)
    (tmp_path / "model.onnx").write_bytes(built.SerializeToString())
    command = [sys.executable, "-c", _MEASURE, str(library.path), str(tmp_path / "model.onnx")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < codes.nbytes / 8
