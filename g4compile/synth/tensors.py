"""Random values for one tensor, by its key alone: any tensor of any checkpoint can be made on its own.

A fresh model leaves norms, `layer_scalar`, `per_expert_scale`, clip bounds and standardisation at values that do
nothing, so a mistake in them would not show. Here each gets values that matter. Products are scaled so that
activations and attention scores stay near unit size at any depth (float32 rounding is then what it is in a trained
model), and logits spread far enough for the soft-cap to bend them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
_Rule = Callable[[np.random.Generator, tuple[int, ...]], Array]


@dataclass(frozen=True)
class Tensor:
    """One tensor of a checkpoint, made when it is written."""

    key: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    make: Callable[[], Array]

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape)) * self.dtype.itemsize


def _around_one(spread: float, size: float = 1.0) -> _Rule:
    return lambda random, shape: (size * (1 + spread * random.standard_normal(shape, np.float32))).astype(np.float32)


def _between(low: float, high: float) -> _Rule:
    return lambda random, shape: random.uniform(low, high, shape).astype(np.float32)


def _product(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Weights of unit gain: the last axis is what is summed over (all but the first for convolutions)."""
    inputs = shape[-1] if len(shape) < 4 else int(np.prod(shape[1:]))
    return random.standard_normal(shape, np.float32) / np.float32(np.sqrt(max(inputs, 1)))


def _head_norm(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Attention is not scaled by 1/sqrt(D), so the norms of q and k are what keeps its scores near unit size."""
    return _around_one(0.2, float(shape[0]) ** -0.25)(random, shape)


# Suffix of a key -> rule; the first that fits. Everything else is a product.
_RULES: tuple[tuple[str, _Rule], ...] = (
    ("layer_scalar", _between(0.6, 1.1)),
    ("per_expert_scale", _between(0.5, 1.5)),
    ("router.scale", _around_one(0.2)),
    ("input_min", _between(-3, -1.5)),
    ("input_max", _between(1.5, 3)),
    ("output_min", _between(-3, -1.5)),
    ("output_max", _between(1.5, 3)),
    ("std_scale", _around_one(0.2)),
    ("std_bias", _around_one(1.0, 0.1)),
    ("per_dim_scale", _around_one(0.2, 0.5)),
    ("position_embedding_table", _around_one(1.0, 0.1)),
    ("pos_embedding", _around_one(1.0, 0.1)),
    ("bias", _around_one(1.0, 0.1)),
    ("q_norm.weight", _head_norm),
    ("k_norm.weight", _head_norm),
    ("language_model.norm.weight", _around_one(0.2, 2.0)),
    ("model.norm.weight", _around_one(0.2, 2.0)),
)


def random_tensor(key: str, shape: tuple[int, ...], seed: int) -> Array:
    """float32 values of tensor ``key``: the same for the same key, shape and seed, whatever else is made."""
    random = np.random.default_rng([seed, zlib.crc32(key.encode())])
    for suffix, rule in _RULES:
        if key.endswith(suffix):
            return rule(random, shape)
    if len(shape) <= 1:
        return _around_one(0.2)(random, shape)
    return _product(random, shape)
