"""Functions of one number that several kernels share."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def tanh(x):
    """By the exponential of a number that is never positive, so that it cannot overflow."""
    decay = tl.exp(-2.0 * tl.abs(x))
    size = (1.0 - decay) / (1.0 + decay)
    return tl.where(x < 0, -size, size)


@triton.jit
def gelu_tanh(x):
    """GELU in its tanh form."""
    return 0.5 * x * (1.0 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))


@triton.jit
def inverse_root(squares, SIZE, EPSILON: tl.constexpr):
    """1 / root (mean + epsilon) of a sum of ``squares`` over ``SIZE`` numbers."""
    return 1.0 / tl.sqrt(squares / SIZE + EPSILON)
