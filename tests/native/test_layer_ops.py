"""CacheWrite, Attention and QMoEExperts in ONNX Runtime: the same bits as the kernels, in memory that is bound."""

from __future__ import annotations

import ctypes
import random

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from tests.native import graphs, reference
from tests.native.layers import (
    TYPES,
    Cache,
    attention,
    expected_attention,
    expected_experts,
    experts,
    rounded,
    stacked,
    write,
)

KINDS = {"float32": TensorProto.FLOAT, "bfloat16": TensorProto.BFLOAT16, "int8": TensorProto.INT8}
KINDS |= {"uint16": TensorProto.UINT16, "int64": TensorProto.INT64}
B, N, K, S, T, D = 2, 6, 2, 3, 20, 16


def numbers(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def stored(array):
    """As a runtime binds it: bfloat16 travels as its bits."""
    if array.dtype.name == "bfloat16":
        return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(array.view(np.uint16), KINDS["bfloat16"])
    return ort.OrtValue.ortvalue_from_numpy(array)


def bytes_of(value):
    """A copy of what an OrtValue holds: NumPy has no type for bfloat16."""
    return ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())


def run(library, op, inputs, outputs=("y",), threads=1, kinds=None, initializers=(), **attributes):
    """One node. ``inputs``: name -> array or OrtValue, None for one that is left out. Its outputs, as arrays."""
    arrays = {name: value for name, value in inputs.items() if value is not None}
    values = {name: stored(one) if isinstance(one, np.ndarray) else one for name, one in arrays.items()}
    names = [name if inputs[name] is not None else "" for name in inputs] + [one.name for one in initializers]
    given = {name: (value.element_type(), None) for name, value in values.items()}
    kinds = kinds or dict.fromkeys(outputs, TensorProto.FLOAT)
    made = graphs.model([graphs.node(op, names, list(outputs), **attributes)], given, kinds, list(initializers))
    session = graphs.session(library.path, made, threads)
    return [value.numpy() for value in session.run_with_ort_values(None, values)]


class Step:
    """Caches that hold some tokens, and the keys, values and queries of the next ones."""

    def __init__(self, library, kind, ring=False, past=9):
        self.kind, self.ring = kind, ring
        self.caches = [Cache.empty(kind, ring, (B, K, T, D)) for _ in range(2)]
        self.all = [numbers((B, K, past + S, D), seed) for seed in (1, 2)]
        before = np.tile(np.arange(past), (B, 1))
        for cache, every in zip(self.caches, self.all, strict=True):
            write(library, cache, np.ascontiguousarray(every[:, :, :past]), before)
        self.new = [np.ascontiguousarray(every[:, :, past:]) for every in self.all]
        self.positions = np.tile(np.arange(past, past + S), (B, 1))
        self.query = numbers((B, N, S, D), 3)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("ring", [False, True])
@pytest.mark.parametrize("in_place", [False, True])
def test_a_cache_is_written(library, kind, ring, in_place):
    """Bound to one memory, only new tokens are written; else the cache is copied and stays as it was."""
    step = Step(library, kind, ring, past=18 if ring else 9)
    cache, fresh = step.caches[0], step.new[0]
    arrays = [array for array in (cache.numbers, cache.scales) if array is not None]
    before = [array.tobytes() for array in arrays]
    names = ["present", "present_scales"][: len(arrays)]
    kinds = dict(zip(names, (KINDS[kind], KINDS["float32"]), strict=False))
    values = {"new": stored(fresh), "positions": stored(step.positions)}
    values |= {f"past_{name}": stored(array.copy()) for name, array in zip(names, arrays, strict=True)}
    given = {name: (value.element_type(), None) for name, value in values.items()}
    made = graphs.model([graphs.node("CacheWrite", list(values), names, ring=int(ring))], given, kinds, [])
    binding = (session := graphs.session(library.path, made, 2)).io_binding()
    for name, value in values.items():
        binding.bind_ortvalue_input(name, value)
    for name in names:
        if in_place:
            binding.bind_ortvalue_output(name, values[f"past_{name}"])
        else:
            binding.bind_output(name)
    session.run_with_iobinding(binding)
    found = [bytes_of(value) for value in binding.get_outputs()]
    kept = [bytes_of(values[f"past_{name}"]) for name in names]
    write(library, cache, fresh, step.positions)
    expected = [array.tobytes() for array in arrays]
    assert expected != before
    assert found == expected
    assert kept == (expected if in_place else before)


@pytest.mark.parametrize("kind", [*TYPES, "uint16"])
@pytest.mark.parametrize(("ring", "window"), [(False, 0), (False, 5), (True, 5)])
def test_attention(library, kind, ring, window):
    step = Step(library, "bfloat16" if kind == "uint16" else kind, ring)
    for cache, fresh in zip(step.caches, step.new, strict=True):
        write(library, cache, fresh, step.positions)
    keys, values = step.caches
    held = [cache.numbers.view(np.uint16) if kind == "uint16" else cache.numbers for cache in step.caches]
    inputs = {"query": step.query, "positions": step.positions, "keys": held[0], "values": held[1]}
    if kind == "int8":
        inputs |= {"key_scales": keys.scales, "value_scales": values.scales}
    right = attention(
        library, library.kernels(), step.query, step.positions, keys, values, scale=0.5, window=window
    )  # fmt: skip
    for threads in (1, 3):
        (found,) = run(library, "Attention", inputs, threads=threads, scale=0.5, window=window, ring=int(ring))
        np.testing.assert_array_equal(found, right)
    starts, ends = step.positions.copy(), step.positions.copy()
    starts[:, 1:], ends[:, 1:] = starts[:, 1:2], ends[:, -1:]
    for name in ("key_scales", "value_scales"):
        inputs.setdefault(name, None)
    (found,) = run(
        library, "Attention", {**inputs, "block_starts": starts, "block_ends": ends}, scale=0.5, window=window,
        ring=int(ring),
    )  # fmt: skip
    given = {"scale": 0.5, "window": window, "blocks": (starts, ends)}
    of_blocks = attention(library, library.kernels(), step.query, step.positions, keys, values, **given)
    np.testing.assert_array_equal(found, of_blocks)
    assert not np.array_equal(of_blocks, right)
    wide = [Cache(keys.type, False, *rounded(keys.type, every)).floats() for every in step.all]
    expected = expected_attention(step.query, step.positions, *wide, scale=0.5, window=window)
    assert np.abs(right - expected).max() <= 1e-5 * np.abs(expected).max()


def test_no_tokens_and_no_batch(library):
    step = Step(library, "float32")
    keys, values = (cache.numbers for cache in step.caches)
    empty = {"query": step.query[:, :, :0], "positions": step.positions[:, :0], "keys": keys, "values": values}
    assert run(library, "Attention", empty, scale=1.0)[0].shape == (B, 0, N * D)
    empty = {"query": step.query[:0], "positions": step.positions[:0], "keys": keys[:0], "values": values[:0]}
    assert run(library, "Attention", empty, scale=1.0)[0].shape == (0, S, N * D)
    fresh = {"new": step.new[0][:, :, :0], "positions": step.positions[:, :0], "cache": keys}
    np.testing.assert_array_equal(run(library, "CacheWrite", fresh)[0], keys)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"query": numbers((B, N, S, 24))}, r"query has shape \[2, 6, 3, 24\], not \[2, 6, 3, 16\]"),
        ({"query": numbers((B, N, D))}, r"query has shape \[2, 6, 16\], not \[B, N, S, D\]"),
        ({"query": numbers((B, 5, S, D))}, "5 heads, which the 2 heads of keys do not divide"),
        ({"positions": np.zeros((B, S + 1), np.int64)}, r"positions has shape \[2, 4\], not \[2, 3\]"),
        ({"positions": np.full((B, S), T)}, "position 20 has no slot in a cache of 20"),
        ({"keys": numbers((B, K, D))}, r"keys has shape \[2, 2, 16\], not \[B, K, T, D\]"),
        ({"keys": np.zeros((B, K, T, D), np.int64)}, "keys is not float32, bfloat16, uint16 or int8"),
        ({"keys": np.zeros((B, K, T, D), np.int8)}, "key_scales is missing"),
        (
            {"keys": np.zeros((B, K, T, D), np.int8), "key_scales": numbers((B, K, T, 1))},
            "values is float32, not int8",
        ),
        ({"values": numbers((B, K, T + 1, D))}, r"values has shape \[2, 2, 21, 16\], not \[2, 2, 20, 16\]"),
        ({"key_scales": numbers((B, K, T, 1))}, "key_scales is there, but the cache is not int8"),
        ({"window": -1}, "window is -1, below 0"),
        ({"ring": 2}, "ring is 2, not 0 or 1"),
        ({"ring": 1, "window": 19, "positions": np.full((B, S), 50) + np.arange(S)}, "a ring of 20 slots cannot hold"),
        ({"scale": None}, "there is no float attribute scale"),
        ({"block_ends": np.zeros((B, S), np.int64)}, "block_starts and block_ends go together"),
        (
            {"block_starts": np.zeros((B, S), np.int64), "block_ends": np.zeros((B, S), np.int64)},
            r"the block 0\.\.0 does not hold its position 9",
        ),
        ({"block_starts": np.zeros((B, 1), np.int64)}, r"block_starts has shape \[2, 1\], not \[2, 3\]"),
    ],
)
def test_attention_refuses(library, changes, words):
    step = Step(library, "float32")
    inputs = {"query": step.query, "positions": step.positions}
    inputs |= {"keys": step.caches[0].numbers, "values": step.caches[1].numbers, "key_scales": None}
    inputs |= {"value_scales": None, "block_starts": None, "block_ends": None}
    given = {"scale": 1.0, "window": 0, "ring": 0}
    for name, value in changes.items():
        (inputs if isinstance(value, np.ndarray) else given)[name] = value
    given = {name: value for name, value in given.items() if value is not None}
    with pytest.raises(Exception, match=f'Attention "the Attention": .*{words}'):
        run(library, "Attention", inputs, **given)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"new": numbers((B, K, S, 8))}, r"new has shape \[2, 2, 3, 8\], not \[2, 2, 3, 16\]"),
        ({"new": numbers((B, S, D))}, r"new has shape \[2, 3, 16\], not \[B, K, S, D\]"),
        ({"positions": np.full((B, S), -1)}, "position -1 has no slot"),
        ({"cache": np.zeros((B, K, T, 12), np.float32)}, "the size of a head is 12, no multiple of 8"),
        ({"cache": np.zeros((B, K, T, D), np.int8)}, "scales is missing"),
        ({"scales": numbers((B, K, T, 1))}, "scales is there, but the cache is not int8"),
        (
            {"cache": np.zeros((B, K, T, D), np.int8), "scales": numbers((B, K, T))},
            r"scales has shape \[2, 2, 20\], not",
        ),
        (
            {"cache": np.zeros((B, K, T, D), np.int8), "scales": numbers((B, K, T, 1))},
            "int8 needs an output for scales",
        ),
    ],
)
def test_cache_write_refuses(library, changes, words):
    inputs = {"new": numbers((B, K, S, D)), "positions": np.tile(np.arange(S), (B, 1))}
    inputs |= {"cache": numbers((B, K, T, D)), "scales": None, **changes}
    kinds = {"y": KINDS[inputs["cache"].dtype.name]}
    with pytest.raises(Exception, match=f'CacheWrite "the CacheWrite": .*{words}'):
        run(library, "CacheWrite", inputs, kinds=kinds)


class Experts:
    """The operands and attributes of QMoEExperts."""

    def __init__(self, bits=4, block=32, zeros=False, count=5, hidden=70, width=40):
        seed = np.random.default_rng(bits + block)
        self.gate_up = [reference.random_matrix(seed, 2 * width, hidden, bits, block, zeros) for _ in range(count)]
        self.down = [reference.random_matrix(seed, hidden, width, 4, 32) for _ in range(count)]
        self.attributes = {"experts": count, "H": hidden, "I": width, "gate_up_bits": bits, "gate_up_block": block}
        self.attributes |= {"down_bits": 4, "down_block": 32}
        arrays = {}
        for name, matrices in (("gate_up", self.gate_up), ("down", self.down)):
            codes, scales, zero_points = stacked(matrices).arrays
            arrays |= {f"{name}_codes": codes, f"{name}_scales": scales, f"{name}_zero_points": zero_points}
        order = [f"{name}_{part}" for name in ("gate_up", "down") for part in ("codes", "scales")]
        order += [f"{name}_zero_points" for name in ("gate_up", "down")]
        self.weights = {name: arrays[name] for name in order if arrays[name] is not None}
        self.x = numbers((2, 7, hidden), 4)
        self.index = seed.integers(0, count, (2, 7, 3))
        self.weight = seed.random((2, 7, 3), np.float32)

    def run(self, library, threads=1, weights=None, **attributes):
        inputs = {"x": self.x, "index": self.index, "weight": self.weight}
        constants = [graphs.initializer(name, array) for name, array in (weights or self.weights).items()]
        given = {**self.attributes, **attributes}
        given = {name: value for name, value in given.items() if value is not None}
        return run(library, "QMoEExperts", inputs, threads=threads, initializers=constants, **given)[0]

    def flat(self):
        rows = self.x.reshape(-1, self.x.shape[-1])
        return rows, tuple(np.ascontiguousarray(one.reshape(len(rows), -1)) for one in (self.index, self.weight))


@pytest.mark.parametrize(("bits", "block", "zeros"), [(4, 32, False), (4, 128, True), (2, 0, False), (8, 0, True)])
def test_experts(library, bits, block, zeros):
    made = Experts(bits, block, zeros)
    rows, choices = made.flat()
    right = expected_experts(rows, choices, made.gate_up, made.down).reshape(made.x.shape)
    for threads in (1, 3):
        np.testing.assert_array_equal(made.run(library, threads), right)
    weights = stacked(made.gate_up), stacked(made.down)
    exact = experts(library, library.kernels(), rows, choices, *weights, count=5, exact=True)
    np.testing.assert_array_equal(made.run(library, activations="float32").reshape(exact.shape), exact)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"experts": 0}, "experts is 0, below 1"),
        ({"experts": 6}, r"gate_up_codes has shape \[5, 3, 1536\], not \[6, 3, 1536\]"),
        ({"experts": 1 << 62}, "gate_up_codes has shape"),
        ({"H": 69}, r"x has shape \[2, 7, 70\], not \[\.\., 69\]"),
        ({"H": 97}, r"gate_up_codes has shape \[5, 3, 1536\], not \[5, 3, 2048\]"),
        ({"H": 1 << 62}, "K is 4611686018427387904"),
        ({"I": 1 << 62}, "I is 4611686018427387904, not in"),
        ({"I": 8}, r"gate_up_codes has shape \[5, 3, 1536\], not \[5, 1, 1536\]"),
        ({"gate_up_bits": 8}, r"gate_up_codes has shape \[5, 3, 1536\], not \[5, 3, 3072\]"),
        ({"down_bits": None}, "there is no integer attribute down_bits"),
        ({"down_block": 64}, r"down_scales has shape \[5, 3, 2, 32\], not \[5, 3, 1, 32\]"),
        ({"activations": "int4"}, 'activations is "int4", not "int8" or "float32"'),
    ],
)
def test_experts_refuse_attributes(library, changes, words):
    with pytest.raises(Exception, match=f'QMoEExperts "the QMoEExperts": .*({words})'):
        made = Experts()
        made.run(library, **changes)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("x", numbers((2, 7, 71)), r"x has shape \[2, 7, 71\], not \[\.\., 70\]"),
        ("index", np.full((2, 7, 3), 5), r"index holds 5 at place 0, not in 0\.\.4"),
        ("index", np.full((2, 7, 3), -1), "index holds -1"),
        ("index", np.zeros((14, 3), np.int64), r"index has shape \[14, 3\]"),
        ("index", np.zeros((2, 6, 3), np.int64), r"index has shape \[2, 6, 3\], not \[2, 7, 3\]"),
        ("weight", numbers((2, 7, 2)), r"weight has shape \[2, 7, 2\], not \[2, 7, 3\]"),
        ("index", np.zeros((2, 7, 0), np.int64), "a token chooses 0 experts|weight has shape"),
    ],
)
def test_experts_refuse_operands(library, field, value, words):
    made = Experts()
    setattr(made, field, value)
    with pytest.raises(Exception, match=f'QMoEExperts "the QMoEExperts": .*({words})'):
        made.run(library)


def test_buffers_of_random_sizes(library):
    """No size of a buffer is read beyond its end: what does not fit is refused."""
    chance, made, refused = random.Random(7), Experts(), 0
    for _ in range(60):
        weights = dict(made.weights)
        name = chance.choice(list(weights))
        shape = [max(0, size + chance.choice((-1, 0, 0, 0, 1))) for size in weights[name].shape]
        weights[name] = np.zeros(shape, weights[name].dtype)
        if shape != list(made.weights[name].shape):
            with pytest.raises(Exception, match="has shape"):
                made.run(library, weights=weights)
            refused += 1
    assert refused > 20


def test_the_ops_are_in_their_domain(library):
    """One node of each op loads beside those of products."""
    ops = {"Attention": {"scale": 1.0}, "CacheWrite": {}}
    for op, attributes in ops.items():
        names = ["a", "b", "c", "d"]
        kinds = {"a": (1, None), "b": (7, None), "c": (1, None), "d": (1, None)}
        made = graphs.model([helper.make_node(op, names, ["y"], domain="g4", **attributes)], kinds, {"y": 1}, [])
        assert graphs.session(library.path, made).get_outputs()[0].name == "y"
