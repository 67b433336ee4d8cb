"""Attention and experts of libg4ops through ctypes, and what they must give, in NumPy."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from g4compile.ops import dequantize_kv, quantize_kv
from tests.native import reference
from tests.native.library import Weights, pointer, stored

TYPES = ("float32", "bfloat16", "int8")
DTYPES = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16, "int8": np.int8}
FLOAT_MOST = np.float32(88)


class _Cache(ctypes.Structure):
    _fields_ = (
        [(name, ctypes.c_int64) for name in ("type", "ring", "batch", "heads", "slots", "depth")]
        + [("numbers", ctypes.c_void_p), ("numbers_bytes", ctypes.c_size_t)]
        + [("scales", ctypes.c_void_p), ("scales_bytes", ctypes.c_size_t)]
    )


class _Queries(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("heads", "tokens", "window")] + [
        ("scale", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ("positions", "block_starts", "block_ends")),
    ]


class _Encoder(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("batch", "heads", "key_heads", "queries", "keys", "depth")] + [
        ("scale", ctypes.c_double)
    ]


class _Experts(ctypes.Structure):
    _fields_ = [("count", ctypes.c_int64), ("exact", ctypes.c_int64), ("gate_up", Weights), ("down", Weights)]


class _Choices(ctypes.Structure):
    _fields_ = [("tokens", ctypes.c_int64), ("each", ctypes.c_int64)] + [
        (name, ctypes.c_void_p) for name in ("index", "weight")
    ]


# Caches and attention.
@dataclass
class Cache:
    """Keys or values [B, K, T, D] in the dtype of `type`, and scales float32 [B, K, T, 1] for int8."""

    type: str
    ring: bool
    numbers: np.ndarray
    scales: np.ndarray | None

    @classmethod
    def empty(cls, kind, ring, shape):
        """Slots that hold large numbers, not zeros: who reads one that was not written gives something else."""
        scales = np.full((*shape[:3], 1), 1e6, np.float32) if kind == "int8" else None
        return cls(kind, ring, np.full(shape, 100, DTYPES[kind]), scales)

    def floats(self):
        if self.scales is None:
            return self.numbers.astype(np.float32)
        return dequantize_kv.reference(self.numbers, self.scales)

    def struct(self, **changes):
        size = 0 if self.scales is None else self.scales.nbytes
        fields = [TYPES.index(self.type), self.ring, *self.numbers.shape]
        made = _Cache(*fields, pointer(self.numbers), self.numbers.nbytes, pointer(self.scales), size)
        for name, value in changes.items():
            setattr(made, name, value)
        return made


def rounded(kind, fresh):
    """What a cache keeps of float32 numbers: the numbers, and scales or None."""
    if kind == "int8":
        return quantize_kv.reference(fresh)
    return fresh.astype(DTYPES[kind]), None


def write(library, cache, fresh, positions, pool=None, **changes):
    function = library.c.g4ops_cache_write
    function.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64, ctypes.c_void_p]
    given = ctypes.byref(cache.struct(**changes))
    library.check(function(pool, given, pointer(fresh), fresh.shape[2], pointer(positions)))


NO_BLOCKS = (None, None)


def attention(
    library, kernels, query, positions, keys, values, *, scale=1.0, window=0, pool=None, blocks=NO_BLOCKS, **changes
):
    """query [B, N, S, D] -> [B, S, N * D]. ``blocks``: their first and last positions [B, S]. ``changes``: fields of
    the keys that are set to something else."""
    batch, heads, tokens, depth = query.shape
    function = library.c.g4ops_attention
    function.argtypes = [ctypes.c_void_p] * 7
    y = np.full((batch, tokens, heads * depth), np.nan, np.float32)
    queries = ctypes.byref(_Queries(heads, tokens, window, scale, pointer(positions), *map(pointer, blocks)))
    given = ctypes.byref(keys.struct(**changes)), ctypes.byref(values.struct())
    library.check(function(kernels, pool, queries, pointer(query), *given, pointer(y)))
    return y


def expected_attention(query, positions, keys, values, *, scale=1.0, window=0, blocks=NO_BLOCKS):
    """In float64. keys, values: float [B, K, tokens, D], by position and not by slot."""
    batch, heads, tokens, depth = query.shape
    group = heads // keys.shape[1]
    wide = [np.repeat(part.astype(np.float64), group, axis=1) for part in (keys, values)]
    scores = scale * query.astype(np.float64) @ wide[0].swapaxes(-1, -2)
    at = np.arange(keys.shape[2])
    starts, ends = (positions if one is None else one for one in blocks)
    seen = at <= ends[:, :, None]
    if window:
        seen &= (at > positions[:, :, None] - window) | (at >= starts[:, :, None])
    scores = np.where(seen[:, None], scores, -np.inf)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    out = (shares / shares.sum(-1, keepdims=True)) @ wide[1]
    return out.transpose(0, 2, 1, 3).reshape(batch, tokens, heads * depth)


def encoder_attention(library, kernels, query, keys, values, /, *, scale=1.0, pool=None, **changes):
    """query [B, N, S, D], keys and values [B, K, T, D] -> [B, S, N * D]. ``changes``: sizes that are told wrong."""
    batch, heads, tokens, depth = query.shape
    function = library.c.g4ops_encoder_attention
    function.argtypes = [ctypes.c_void_p] * 7
    y = np.full((batch, tokens, heads * depth), np.nan, np.float32)
    sizes = _Encoder(batch, heads, keys.shape[1], tokens, keys.shape[2], depth, scale)
    for name, value in changes.items():
        setattr(sizes, name, value)
    library.check(function(kernels, pool, ctypes.byref(sizes), *map(pointer, (query, keys, values, y))))
    return y


# Experts.
def stacked(matrices):
    """The weights of all experts, in one array each."""
    one = stored(matrices[0])
    arrays = [
        None if parts[0] is None else np.ascontiguousarray(np.stack(parts))
        for parts in zip(*(stored(matrix).arrays for matrix in matrices), strict=True)
    ]
    fields = [part for array in arrays for part in (pointer(array), 0 if array is None else array.nbytes)]
    weights = Weights(one.bits, one.block, one.columns, one.rows, *fields)
    weights.arrays = arrays
    return weights


def experts(library, kernels, x, choices, gate_up, down, *, count, exact=False, pool=None):
    """x [tokens, H], choices (index, weight) [tokens, each] -> [tokens, H]; gate_up and down from `stacked`."""
    function = library.c.g4ops_experts
    function.argtypes = [ctypes.c_void_p] * 6
    y = np.full(x.shape, np.nan, np.float32)
    index, weight = choices
    given = ctypes.byref(_Experts(count, exact, gate_up, down))
    chosen = ctypes.byref(_Choices(*index.shape, pointer(index), pointer(weight)))
    library.check(function(kernels, pool, given, pointer(x), chosen, pointer(y)))
    return y


def exponential(x):
    """exp of `native/LAYERS.md`, to the bit."""
    single, fused = np.float32, reference.fused
    near = np.minimum(np.maximum(x, single(-87)), FLOAT_MOST)
    n = np.rint(near * single(1.44269504))
    f = fused(n, single(-0.693145751953125), near)
    f = fused(n, single(-1.42860677e-6), f)
    p = np.full_like(f, single(1.9875691500e-4))
    for part in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        p = fused(p, f, np.full_like(f, single(part)))
    p = fused(p * f, f, f)
    return np.where(x < -87, single(0), (p + single(1)) * np.exp2(n).astype(single))


def geglu(gate, up):
    """gelu_tanh(gate) * up of `native/LAYERS.md`, to the bit."""
    single = np.float32
    inner = reference.fused(gate * gate * gate, np.full_like(gate, 0.044715), gate)
    return gate / (single(1) + exponential(inner * single(-1.5957691216))) * up


def expected_experts(x, choices, gate_up, down):
    """To the bit, with int8 activations."""
    index, weight = choices
    y = np.zeros_like(x)
    for expert in np.unique(index):
        token, place = np.nonzero(index == expert)
        both = reference.product(reference.quantize(x[token]), gate_up[expert])
        gate, up = np.split(both, 2, axis=1)
        result = reference.product(reference.quantize(geglu(gate, up)), down[expert])
        np.add.at(y, token, result * weight[token, place][:, None])
    return y
