"""Rows of the residual stream, normed: what stands around products, for any number of rows.

    stream_rows:       v = (h + RMSNorm (p) * post) * scalar, x = RMSNorm (v) * pre * FACTOR
    per_layer_inputs:  (RMSNorm (projected * PROJECTION) * weight + rows) * SCALE, norms over each D numbers
    expert_sum:        RMSNorm (dense) * dense_norm + RMSNorm (sum over k of weight * out[slot]) * expert_norm

Shapes: h, v float32 [rows, H]; p, x, dense [rows, H]; out [slots, H]. One program a row. Sums in float32.
Source: transformers `Gemma4TextDecoderLayer.forward`, `Gemma4TextModel.project_per_layer_inputs`.
"""

from __future__ import annotations

import triton
import triton.language as tl

from g4compile.targets.kernels.dependent import begin, wait
from g4compile.targets.kernels.elements import inverse_root


@triton.jit
def stream_weights(post, scalar, pre, at, inside, ADDS: tl.constexpr, SCALED: tl.constexpr, NORMED: tl.constexpr):
    """Numbers ``at`` of what no kernel writes, in float32: the weights of both norms, and the scalar. They are read
    before a kernel waits, and 1 where there are none."""
    after, size, before = 1.0, 1.0, 1.0
    if ADDS:
        after = tl.load(post + at, mask=inside, other=0).to(tl.float32)
    if SCALED:
        size = tl.load(scalar).to(tl.float32)
    if NORMED:
        before = tl.load(pre + at, mask=inside, other=0).to(tl.float32)
    return after, size, before


@triton.jit
def stream_at(  # noqa: PLR0913 - a Triton kernel
    h, p, after, size, at, inside, SIZE, ADDS: tl.constexpr, EPSILON: tl.constexpr
):
    """Numbers ``at`` of one row of v, which must be all of them where something is added; 0 outside. Everything is read
    before the first sum, which all threads wait for."""
    value = tl.load(h + at, mask=inside, other=0).to(tl.float32)
    if ADDS:
        added = tl.load(p + at, mask=inside, other=0).to(tl.float32)
        value += added * inverse_root(tl.sum(added * added), SIZE, EPSILON) * after
    return value * size


@triton.jit
def stream_rows(  # noqa: PLR0913 - a Triton kernel
    h, p, post, scalar, pre, v, x, SIZE, ROWS,
    BLOCK: tl.constexpr, ADDS: tl.constexpr, SCALED: tl.constexpr, NORMED: tl.constexpr, FACTOR: tl.constexpr,
    EPSILON: tl.constexpr, DEPENDENT: tl.constexpr,
):  # fmt: skip
    """Grid: (rows). v is written where something is added or scaled."""
    begin(DEPENDENT)
    row = tl.program_id(0).to(tl.int64) * SIZE
    at = tl.arange(0, BLOCK)
    inside = at < SIZE
    after, size, before = stream_weights(post, scalar, pre, at, inside, ADDS, SCALED, NORMED)
    wait(DEPENDENT)
    value = stream_at(h + row, p + row, after, size, at, inside, SIZE, ADDS, EPSILON)
    if ADDS or SCALED:
        tl.store(v + row + at, value, mask=inside)
    if NORMED:
        factor = inverse_root(tl.sum(value * value), SIZE, EPSILON) * FACTOR
        value = value * factor * before
    tl.store(x + row + at, value.to(x.dtype.element_ty), mask=inside)


@triton.jit
def per_layer_inputs(  # noqa: PLR0913 - a Triton kernel
    projected, rows, weight, out, LAYERS, ROWS,
    WIDTH: tl.constexpr, PROJECTION: tl.constexpr, SCALE: tl.constexpr, EPSILON: tl.constexpr, DEPENDENT: tl.constexpr,
):  # fmt: skip
    """Grid: (rows, layers)."""
    begin(DEPENDENT)
    wait(DEPENDENT)
    place = (tl.program_id(0).to(tl.int64) * LAYERS + tl.program_id(1)) * WIDTH
    at = tl.arange(0, WIDTH)
    value = tl.load(projected + place + at).to(tl.float32) * PROJECTION
    normed = value * inverse_root(tl.sum(value * value), WIDTH, EPSILON) * tl.load(weight + at).to(tl.float32)
    total = (normed + tl.load(rows + place + at).to(tl.float32)) * SCALE
    tl.store(out + place + at, total.to(out.dtype.element_ty))


@triton.jit
def expert_sum(  # noqa: PLR0913 - a Triton kernel
    dense, dense_norm, out, slot_of, weights, expert_norm, d, SIZE, ROWS,
    BLOCK: tl.constexpr, CHOICES: tl.constexpr, EPSILON: tl.constexpr, DEPENDENT: tl.constexpr,
):  # fmt: skip
    """Grid: (rows)."""
    begin(DEPENDENT)
    wait(DEPENDENT)
    token = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    inside = at < SIZE
    total = tl.zeros((BLOCK,), tl.float32)
    for choice in tl.static_range(CHOICES):
        slot = tl.load(slot_of + token * CHOICES + choice).to(tl.int64)
        share = tl.load(weights + token * CHOICES + choice)
        total += share * tl.load(out + slot * SIZE + at, mask=inside, other=0).to(tl.float32)
    experts = total * inverse_root(tl.sum(total * total), SIZE, EPSILON)
    value = tl.load(dense + token * SIZE + at, mask=inside, other=0).to(tl.float32)
    beside = value * inverse_root(tl.sum(value * value), SIZE, EPSILON)
    beside *= tl.load(dense_norm + at, mask=inside, other=0).to(tl.float32)
    both = beside + experts * tl.load(expert_norm + at, mask=inside, other=0).to(tl.float32)
    tl.store(d + token * SIZE + at, both.to(d.dtype.element_ty), mask=inside)
