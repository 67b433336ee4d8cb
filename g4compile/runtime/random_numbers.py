"""Numbers that any language draws alike: uniform ones from a seed and a count, and `exp` from additions and products
alone.

`docs/sampling.md` states both, with test vectors. Sources: Salmon et al., Parallel random numbers: as easy as 1, 2, 3
(SC 2011), of which this is Philox4x32-10; the reduction of `exp` is that of fdlibm's `e_exp.c`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_WORD = 0xFFFFFFFF
_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_KEY_STEPS = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10

_LOG2_E = float.fromhex("0x1.71547652b82fep+0")
# ln 2 in two doubles: the product of the first and a whole number of up to 2^20 is exact.
_LN2_HIGH, _LN2_LOW = float.fromhex("0x1.62e42feep-1"), float.fromhex("0x1.a39ef35793c76p-33")
_COEFFICIENTS = tuple(1.0 / math.factorial(power) for power in range(13, -1, -1))
_LEAST = -700.0  # below it `exp` is 0 here, so that no result is subnormal


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Philox4x32-10: four words of 32 bits from a counter of four and a key of two."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        first, second = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (second >> 32) ^ c1 ^ k0, second & _WORD, (first >> 32) ^ c3 ^ k1, first & _WORD
        k0, k1 = (k0 + _KEY_STEPS[0]) & _WORD, (k1 + _KEY_STEPS[1]) & _WORD
    return c0, c1, c2, c3


def uniform(seed: int, draw: int) -> float:
    """The number ``draw`` (from 0) of ``seed``: at least 0 and below 1, a multiple of 2^-53. Both take 64 bits."""
    low, high, _, _ = philox((draw & _WORD, draw >> 32, 0, 0), (seed & _WORD, seed >> 32))
    return ((high << 32 | low) >> 11) * 2.0**-53


def exp(values: Array) -> Array:
    """e to the power of float64 ``values`` [n], none above 0: the same bits wherever IEEE doubles are rounded to
    nearest."""
    inside = np.maximum(values, _LEAST)
    twos = np.floor(inside * _LOG2_E + 0.5)
    rest = (inside - twos * _LN2_HIGH) - twos * _LN2_LOW
    result = np.full_like(rest, _COEFFICIENTS[0])
    for coefficient in _COEFFICIENTS[1:]:  # two roundings each: no fused multiply and add
        result *= rest
        result += coefficient
    powers = np.ldexp(result, twos.astype(np.int32))  # exact
    powers[values < _LEAST] = 0.0
    return powers
