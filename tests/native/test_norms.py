"""Norms, and what is fused with them: to the bit what `native/LAYERS.md` says, alone and in ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from g4compile.ops import axial_rope, rms_norm
from tests.native.layers import geglu
from tests.native.library import Failed
from tests.native.norms import EPSILON, expected_heads, expected_norm, norm_add, norm_heads, norm_quantize
from tests.native.test_layer_ops import run

WIDTHS = (1, 3, 15, 16, 17, 40, 256, 1000)


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rows", [1, 13, 300])
def test_a_norm_and_its_sum(library, kernels, width, rows):
    x, weight, residual = numbers(rows, width), numbers(width, seed=1), numbers(rows, width, seed=2)
    right = (residual + expected_norm(x, weight)) * np.float32(0.37)
    pool = library.c.g4ops_pool_create(3)
    for threads in (None, pool):
        found = norm_add(library, kernels, x, weight, residual, np.float32(0.37), threads)
        np.testing.assert_array_equal(found, right)
    library.c.g4ops_pool_destroy(pool)
    exact = residual + rms_norm.reference(x.astype(np.float64), weight, epsilon=EPSILON)
    np.testing.assert_allclose(right / np.float32(0.37), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("block", [0, 128])
@pytest.mark.parametrize("rows", [1, 5, 30])
def test_a_rounded_norm(library, kernels, rows, block):
    x, weight = numbers(rows, 200), numbers(200, seed=1)
    right = library.quantize(kernels, expected_norm(x, weight), block)
    np.testing.assert_array_equal(norm_quantize(library, kernels, x, weight, block), right)


@pytest.mark.parametrize(("width", "pairs"), [(8, 4), (16, 0), (40, 20), (40, 3), (256, 128), (7, 3)])
def test_heads(library, kernels, width, pairs):
    x, weight = numbers(2, 5, 3 * width), numbers(width, seed=1)
    cos, sin = numbers(2, 5, pairs, seed=2), numbers(2, 5, pairs, seed=3)
    found = norm_heads(library, kernels, x, weight, cos, sin)
    np.testing.assert_array_equal(found, expected_heads(x, weight, cos, sin))


@pytest.mark.parametrize(("width", "parts", "pairs"), [(16, 2, 4), (72, 2, 18), (64, 2, 16), (30, 3, 2)])
def test_parts_of_heads_are_rotated_apart(library, kernels, width, parts, pairs):
    x, weight = numbers(2, 5, 3 * width), numbers(width, seed=1)
    cos, sin = numbers(2, 5, parts, pairs, seed=2), numbers(2, 5, parts, pairs, seed=3)
    found = norm_heads(library, kernels, x, weight, cos, sin)
    np.testing.assert_array_equal(found, expected_heads(x, weight, cos, sin))
    if parts == 2 and 4 * pairs == width:
        normed = rms_norm.reference(x.reshape(2, 5, 3, width), weight, epsilon=EPSILON)
        turned = axial_rope.reference(normed, cos, sin).swapaxes(1, 2)
        np.testing.assert_allclose(found, turned, rtol=1e-5, atol=1e-5)


def test_wrong_sizes(library):
    kernels, x, weight = library.kernels(), numbers(2, 8), numbers(8)
    with pytest.raises(Failed, match="there are -1 rows"):
        norm_add(library, kernels, x, weight, x, rows=-1)
    with pytest.raises(Failed, match="width is 0"):
        norm_add(library, kernels, x, numbers(0), x, rows=2)
    with pytest.raises(Failed, match="packed has 7 bytes, not"):
        norm_quantize(library, kernels, x, weight, size=7)
    with pytest.raises(Failed, match="block is 64, not 0 or 128"):
        norm_quantize(library, kernels, x, weight, block=64, size=400)
    with pytest.raises(Failed, match="10 numbers are to be rotated, a head has 8"):
        norm_heads(library, kernels, numbers(1, 2, 8), weight, numbers(1, 2, 5), numbers(1, 2, 5))
    with pytest.raises(Failed, match="6 numbers are to be rotated, a part of a head has 4"):
        norm_heads(library, kernels, numbers(1, 2, 8), weight, numbers(1, 2, 2, 3), numbers(1, 2, 2, 3))
    with pytest.raises(Failed, match="a head of 8 numbers does not have 3 equal parts"):
        norm_heads(library, kernels, numbers(1, 2, 8), weight, numbers(1, 2, 3, 1), numbers(1, 2, 3, 1))


# In ONNX Runtime.
X, WEIGHT = numbers(2, 3, 40), numbers(40, seed=1)


def test_the_ops(library):
    residual, scale = numbers(2, 3, 40, seed=2), np.asarray([0.25], np.float32)
    given = {"x": X, "weight": WEIGHT, "residual": residual}
    (found,) = run(library, "NormAdd", {**given, "scale": scale}, epsilon=EPSILON)
    np.testing.assert_array_equal(found, (residual + expected_norm(X, WEIGHT)) * scale)
    (found,) = run(library, "NormAdd", given, epsilon=EPSILON, threads=3)
    np.testing.assert_array_equal(found, residual + expected_norm(X, WEIGHT))
    kinds = {"y": TensorProto.UINT8}
    (found,) = run(library, "NormQuantize", {"x": X, "weight": WEIGHT}, kinds=kinds, K=40, epsilon=EPSILON)
    right = library.quantize(library.kernels(), expected_norm(X, WEIGHT).reshape(6, 40))
    np.testing.assert_array_equal(found.ravel(), right)
    weight, cos, sin = numbers(20), numbers(2, 3, 10, seed=2), numbers(2, 3, 10, seed=3)
    heads = {"x": X, "weight": weight, "cos": cos, "sin": sin}
    (found,) = run(library, "NormHeads", heads, heads=2, epsilon=EPSILON)
    np.testing.assert_array_equal(found, expected_heads(X, weight, cos, sin))
    (found,) = run(library, "NormHeads", {"x": X, "weight": weight}, heads=2, epsilon=EPSILON)
    np.testing.assert_array_equal(found, expected_heads(X, weight, cos[..., :0], sin[..., :0]))
    cos, sin = numbers(2, 3, 2, 5, seed=2), numbers(2, 3, 2, 5, seed=3)
    heads = {"x": X, "weight": weight, "cos": cos, "sin": sin}
    (found,) = run(library, "NormHeads", heads, heads=2, epsilon=EPSILON)
    np.testing.assert_array_equal(found, expected_heads(X, weight, cos, sin))
    inputs = numbers(2, 3, 5, 40, seed=4)
    (found,) = run(library, "LayerGate", {"gate": X, "inputs": inputs}, layer=3)
    np.testing.assert_array_equal(found, geglu(X, np.ascontiguousarray(inputs[:, :, 3])))


@pytest.mark.parametrize(
    ("op", "inputs", "given", "words"),
    [
        ("NormAdd", {"weight": numbers(39)}, {}, r"weight has shape \[39\], not \[40\]"),
        ("NormAdd", {"residual": numbers(2, 40)}, {}, r"residual has shape \[2, 40\], not \[2, 3, 40\]"),
        ("NormAdd", {"scale": numbers(2)}, {}, r"scale has shape \[2\], not \[1\]"),
        ("NormAdd", {}, {"epsilon": None}, "there is no float attribute epsilon"),
        ("NormQuantize", {}, {"K": 41}, r"x has shape \[2, 3, 40\], not \[.., 41\]"),
        ("NormQuantize", {}, {"K": 40, "activation_block": 64}, "activation_block is 64, not 0 or 128"),
        ("NormHeads", {}, {"heads": 3}, r"x has shape \[2, 3, 40\], not \[B, S, 3 \* D\]"),
        ("NormHeads", {}, {"heads": 0}, "heads is 0, below 1"),
        ("NormHeads", {"cos": numbers(2, 3, 4)}, {"heads": 1}, "cos and sin go together"),
        ("NormHeads", {"cos": numbers(2, 3, 21), "sin": numbers(2, 3, 21)}, {"heads": 1}, "42 numbers are to be"),
        ("NormHeads", {"cos": numbers(2, 3, 4), "sin": numbers(2, 3, 5)}, {"heads": 1}, r"sin has shape \[2, 3, 5\]"),
        (
            "NormHeads",
            {"cos": numbers(2, 3, 3, 4), "sin": numbers(2, 3, 3, 4)},
            {"heads": 1},
            "a head of 40 numbers does not have 3 equal parts",
        ),
        (
            "NormHeads",
            {"cos": numbers(2, 3, 2, 4), "sin": numbers(2, 3, 1, 4)},
            {"heads": 1},
            r"sin has shape \[2, 3, 1, 4\], not \[2, 3, 2, 4\]",
        ),
        ("LayerGate", {"inputs": numbers(2, 3, 5, 40)}, {"layer": 5}, "which has no layer 5"),
        ("LayerGate", {"inputs": numbers(2, 3, 5, 39)}, {"layer": 1}, r"inputs has shape \[2, 3, 5, 39\]"),
        ("LayerGate", {"inputs": numbers(40)}, {"layer": 0}, "which has no layer 0"),
    ],
)
def test_the_ops_refuse(library, op, inputs, given, words):
    operands = {
        "NormAdd": {"x": X, "weight": WEIGHT, "residual": X, "scale": None},
        "NormQuantize": {"x": X, "weight": WEIGHT},
        "NormHeads": {"x": X, "weight": WEIGHT, "cos": None, "sin": None},
        "LayerGate": {"gate": X, "inputs": None},
    }[op]
    attributes = {name: value for name, value in ({"epsilon": EPSILON} | given).items() if value is not None}
    kinds = {"y": TensorProto.UINT8 if op == "NormQuantize" else TensorProto.FLOAT}
    with pytest.raises(Exception, match=f'{op} "the {op}": .*{words}'):
        run(library, op, operands | inputs, kinds=kinds, **attributes)
