"""What the kernels compute, in float64 NumPy, and operands of theirs."""

from __future__ import annotations

import numpy as np


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def dequantize(codes, scales, block):
    return (codes.astype(np.float64) - 8) * np.repeat(scales.astype(np.float64), block, -1)


def experts(x, index, gate_up, down):
    """[T, k, H] products of each chosen expert, unweighted."""
    out = np.zeros((*index.shape, x.shape[1]))
    for token, chosen in enumerate(index):
        for choice, expert in enumerate(chosen):
            gate, up = np.split(gate_up[expert] @ x[token], 2)
            out[token, choice] = down[expert] @ (gelu_tanh(gate) * up)
    return out


def attention(q, k, v, first, window, ring):
    """[B, N, S, D]; positions as in `flash_attention.py`."""
    group, new, slots = q.shape[1] // k.shape[1], q.shape[2], k.shape[2]
    k, v = np.repeat(k, group, 1), np.repeat(v, group, 1)
    position = first[:, None] + np.arange(new)
    last = position[:, -1:]
    held = last - (last - np.arange(slots)) % slots if ring else np.arange(slots)[None].repeat(len(first), 0)
    seen = (held[:, None] <= position[..., None]) & (held[:, None] >= 0)
    if window:
        seen &= held[:, None] > position[..., None] - window
    scores = np.where(seen[:, None], q @ k.swapaxes(-1, -2), -np.inf)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True) @ v
