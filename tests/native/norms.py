"""Norms of libg4ops through ctypes, and what they must give, in NumPy: `native/LAYERS.md`, to the bit."""

from __future__ import annotations

import ctypes

import numpy as np

from tests.native import reference
from tests.native.library import pointer

SUMS = 16
EPSILON = 1e-6


class _Norm(ctypes.Structure):
    _fields_ = [("width", ctypes.c_int64), ("epsilon", ctypes.c_double), ("weight", ctypes.c_void_p)]


class _Heads(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("batch", "tokens", "heads", "parts", "pairs")]


def _norm(weight):
    return ctypes.byref(_Norm(weight.size, EPSILON, pointer(weight)))


def norm_add(library, kernels, x, weight, residual, scale=1.0, pool=None, rows=None):
    function = library.c.g4ops_norm_add
    function.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64] + [ctypes.c_void_p] * 2
    function.argtypes += [ctypes.c_double, ctypes.c_void_p]
    y = np.full(x.shape, np.nan, np.float32)
    count = x.size // weight.size if rows is None else rows
    library.check(function(kernels, pool, _norm(weight), count, pointer(x), pointer(residual), scale, pointer(y)))
    return y


def norm_quantize(library, kernels, x, weight, block=0, pool=None, size=None):
    function = library.c.g4ops_norm_quantize
    function.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 2 + [ctypes.c_void_p] * 2 + [ctypes.c_size_t]
    packed = np.zeros(library.activations_bytes(*x.shape, block) if size is None else size, np.uint8)
    library.check(function(kernels, pool, _norm(weight), len(x), block, pointer(x), pointer(packed), packed.nbytes))
    return packed


def norm_heads(library, kernels, x, weight, cos, sin, pool=None, pairs=None):
    """x [B, S, N * D] -> [B, N, S, D]; cos, sin [B, S, pairs], or [B, S, parts, pairs]."""
    function = library.c.g4ops_norm_heads
    function.argtypes = [ctypes.c_void_p] * 8
    batch, tokens, width = x.shape
    heads = width // weight.size
    y = np.full((batch, heads, tokens, weight.size), np.nan, np.float32)
    shape = ctypes.byref(_Heads(batch, tokens, heads, parts_of(cos), cos.shape[-1] if pairs is None else pairs))
    library.check(function(kernels, pool, _norm(weight), shape, *map(pointer, (x, cos, sin, y))))
    return y


def parts_of(cos):
    return cos.shape[2] if cos.ndim == 4 else 1


def expected_norm(x, weight):
    """x [.., width]."""
    width, single = x.shape[-1], np.float32
    wide = np.zeros((*x.shape[:-1], -(-width // SUMS) * SUMS), single)
    wide[..., :width] = x
    sums = np.zeros((*x.shape[:-1], SUMS), single)
    for part in np.moveaxis(wide.reshape(*x.shape[:-1], -1, SUMS), -2, 0):
        sums = reference.fused(part, part, sums)
    while sums.shape[-1] > 1:
        sums = sums[..., : sums.shape[-1] // 2] + sums[..., sums.shape[-1] // 2 :]
    root = single(1) / np.sqrt(sums / single(width) + single(EPSILON))
    return x * root * weight


def expected_heads(x, weight, cos, sin):
    batch, tokens, width = x.shape
    normed = expected_norm(x.reshape(batch, tokens, width // weight.size, weight.size), weight)
    parts, pairs = parts_of(cos), cos.shape[-1]
    cut = normed.reshape(*normed.shape[:-1], parts, -1)
    low, high, rest = np.split(cut, [pairs, 2 * pairs], axis=-1)
    cos, sin = (one.reshape(batch, tokens, 1, parts, pairs) for one in (cos, sin))
    turned = np.concatenate([low * cos - high * sin, high * cos + low * sin, rest], axis=-1)
    return np.ascontiguousarray(turned.reshape(normed.shape).swapaxes(1, 2))
