"""Heads normed, rotated, written into a cache, and attention over it.

    heads_to_cache  many tokens: queries normed and rotated [B, S, N, D]; keys and values into their slots
    attend_split    one token a sequence: its key and value are written, then keys are split between programs
    attend_merge    what the programs of one head found, joined

The cache of position p is slot p modulo SLOTS. A sequence at position -1 is not in use: nothing is written, and its
result is 0. Rotation: dimensions [0, HALF) with [D/2, D/2 + HALF). Sums and soft-max in float32.
Source: transformers `Gemma4TextAttention.forward`; Dao et al., Flash-Decoding (2023).
"""

from __future__ import annotations

import triton
import triton.language as tl

from g4compile.targets.kernels.dependent import begin, fetch, wait
from g4compile.targets.kernels.elements import inverse_root

LOG2E = tl.constexpr(1.4426950408889634)
LINE = tl.constexpr(64)  # numbers of bfloat16 that lie in one line of a cache
STEP = tl.constexpr(32)  # keys of a program are so many, or a multiple


@triton.jit
def _rotated(low, high, weight, angles, HALF, WIDTH: tl.constexpr, EPSILON: tl.constexpr):
    """Both halves of heads, [.., D/2] and zeros behind, normed over D and rotated."""
    at = tl.arange(0, low.shape[1])
    inside, turned = at < WIDTH // 2, at < HALF
    squares = tl.sum(low * low + high * high, 1)
    factor = inverse_root(squares, WIDTH, EPSILON)[:, None]
    low = low * factor * tl.load(weight + at, mask=inside, other=0).to(tl.float32)[None, :]
    high = high * factor * tl.load(weight + WIDTH // 2 + at, mask=inside, other=0).to(tl.float32)[None, :]
    cos = tl.load(angles + at, mask=turned, other=1.0)[None, :]
    sin = tl.load(angles + HALF + at, mask=turned, other=0.0)[None, :]
    return low * cos - high * sin, high * cos + low * sin


@triton.jit
def _write(  # noqa: PLR0913 - a Triton kernel
    key, value, angles, k_norm, key_slot, value_slot, HALF, WIDTH: tl.constexpr, EPSILON: tl.constexpr
):
    """One key and one value [D] into their slots."""
    at = tl.arange(0, WIDTH // 2)
    low, high = tl.load(key + at).to(tl.float32)[None, :], tl.load(key + WIDTH // 2 + at).to(tl.float32)[None, :]
    low, high = _rotated(low, high, k_norm, angles, HALF, WIDTH, EPSILON)
    tl.store(key_slot + at[None, :], low.to(key_slot.dtype.element_ty))
    tl.store(key_slot + WIDTH // 2 + at[None, :], high.to(key_slot.dtype.element_ty))
    all_at = tl.arange(0, WIDTH)
    number = tl.load(value + all_at).to(tl.float32)
    number = number * inverse_root(tl.sum(number * number), WIDTH, EPSILON)
    tl.store(value_slot + all_at, number.to(value_slot.dtype.element_ty))


@triton.jit
def heads_to_cache(  # noqa: PLR0913 - a Triton kernel
    qkv, positions, angles, q_norm, k_norm, keys, values, query, SLOTS, TOKENS, HALF, ROWS,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, WIDTH: tl.constexpr, WRITES: tl.constexpr,
    KEY_IS_VALUE: tl.constexpr, EPSILON: tl.constexpr, DEPENDENT: tl.constexpr,
):  # fmt: skip
    """Grid: (rows, HEADS, and KV_HEADS more where it writes)."""
    begin(DEPENDENT)
    wait(DEPENDENT)
    row, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    COLUMNS: tl.constexpr = WIDTH * (HEADS + WRITES * KV_HEADS * (2 - KEY_IS_VALUE))
    qkv += row * COLUMNS
    angles += row * 2 * HALF
    if head < HEADS:
        at = tl.arange(0, WIDTH // 2)
        source = qkv + head * WIDTH
        low = tl.load(source + at).to(tl.float32)[None, :]
        high = tl.load(source + WIDTH // 2 + at).to(tl.float32)[None, :]
        low, high = _rotated(low, high, q_norm, angles, HALF, WIDTH, EPSILON)
        out = query + (row * HEADS + head) * WIDTH + at[None, :]
        tl.store(out, low.to(query.dtype.element_ty))
        tl.store(out + WIDTH // 2, high.to(query.dtype.element_ty))
    elif WRITES:
        kv = head - HEADS
        position = tl.load(positions + row)
        if position >= 0:
            place = (((row // TOKENS) * KV_HEADS + kv) * SLOTS + position % SLOTS) * WIDTH
            key = qkv + (HEADS + kv) * WIDTH
            value = key + (0 if KEY_IS_VALUE else KV_HEADS * WIDTH)
            _write(key, value, angles, k_norm, keys + place, values + place, HALF, WIDTH, EPSILON)


@triton.jit
def attend_split(  # noqa: PLR0913 - a Triton kernel
    qkv, positions, angles, q_norm, k_norm, keys, values, out, partial, SLOTS, HALF, BATCH,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, WIDTH: tl.constexpr, WINDOW: tl.constexpr, WRITES: tl.constexpr,
    KEY_IS_VALUE: tl.constexpr, EPSILON: tl.constexpr, SPLITS: tl.constexpr, LEAST: tl.constexpr, ROWS: tl.constexpr,
    BLOCK_N: tl.constexpr, DEPENDENT: tl.constexpr,
):  # fmt: skip
    """Grid: (SPLITS, KV_HEADS, B). ``LEAST``: keys of a program, so that few keys have few programs. ``ROWS``: query
    heads of a KV head, padded to 16.

    ``partial`` float32: [B, KV_HEADS, SPLITS, group, D], then the peaks and the weights [B, KV_HEADS, SPLITS, group].
    """
    begin(DEPENDENT)
    split, kv, row = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    GROUP: tl.constexpr = HEADS // KV_HEADS
    COLUMNS: tl.constexpr = WIDTH * (HEADS + WRITES * KV_HEADS * (2 - KEY_IS_VALUE))
    at = tl.arange(0, max(WIDTH // 2, 16))  # a matrix unit takes no fewer columns
    half = at < WIDTH // 2
    all_at = tl.arange(0, WIDTH)
    group = tl.arange(0, ROWS)
    real = group < GROUP
    cache = (row * KV_HEADS + kv) * SLOTS * WIDTH
    keys += cache
    values += cache
    # Positions come from the host, or from an op of ONNX Runtime that has ended before any kernel behind it begins.
    position = tl.load(positions + row).to(tl.int32)
    first = 0
    if WINDOW > 0:
        first = tl.maximum(position + 1 - WINDOW, 0)
    count = position + 1 - first
    share = tl.maximum(tl.cdiv(tl.cdiv(count, SPLITS), STEP) * STEP, LEAST)
    active = tl.cdiv(count, share)
    low_key = first + split * share
    end = tl.minimum(low_key + share, position + 1)
    line = tl.arange(0, max(WIDTH // LINE, 1)) * LINE
    for start in range(low_key, end, BLOCK_N):  # their way is long, and what they are multiplied with is not there yet
        place = tl.minimum(start + tl.arange(0, BLOCK_N), position)
        slot = (place % SLOTS).to(tl.int64) * WIDTH
        fetch(keys + slot[:, None] + line[None, :], DEPENDENT)
        fetch(values + slot[:, None] + line[None, :], DEPENDENT)
    wait(DEPENDENT)
    qkv += row * COLUMNS
    angles += row * 2 * HALF
    result = out + ((row * HEADS + kv * GROUP + group) * WIDTH)[:, None] + all_at[None, :]
    if position < 0:
        if split == 0:
            tl.store(result, tl.zeros((ROWS, WIDTH), tl.float32).to(out.dtype.element_ty), mask=real[:, None])
        return
    if split >= active:
        return
    if WRITES:
        if split == active - 1:
            slot = (position % SLOTS).to(tl.int64) * WIDTH
            key = qkv + (HEADS + kv) * WIDTH
            value = key + (0 if KEY_IS_VALUE else KV_HEADS * WIDTH)
            _write(key, value, angles, k_norm, keys + slot, values + slot, HALF, WIDTH, EPSILON)
            tl.debug_barrier()
    source = qkv + (kv * GROUP + group)[:, None] * WIDTH + at[None, :]
    low = tl.load(source, mask=real[:, None] & half[None, :], other=0).to(tl.float32)
    high = tl.load(source + WIDTH // 2, mask=real[:, None] & half[None, :], other=0).to(tl.float32)
    low, high = _rotated(low, high, q_norm, angles, HALF, WIDTH, EPSILON)
    low, high = low.to(keys.dtype.element_ty), high.to(keys.dtype.element_ty)
    most = tl.full((ROWS,), -1e30, tl.float32)
    weight = tl.zeros((ROWS,), tl.float32)
    total = tl.zeros((ROWS, WIDTH), tl.float32)
    for start in range(low_key, end, BLOCK_N):
        place = start + tl.arange(0, BLOCK_N)
        seen = place < end
        slot = (place % SLOTS).to(tl.int64) * WIDTH
        source_k = keys + slot[None, :] + at[:, None]
        key_low = tl.load(source_k, mask=seen[None, :] & half[:, None], other=0)
        key_high = tl.load(source_k + WIDTH // 2, mask=seen[None, :] & half[:, None], other=0)
        scores = tl.dot(low, key_low, input_precision="ieee")
        scores = tl.dot(high, key_high, scores, input_precision="ieee") * LOG2E
        scores = tl.where(seen[None, :], scores, -1e30)
        peak = tl.maximum(most, tl.max(scores, 1))
        shrink, part = tl.exp2(most - peak), tl.exp2(scores - peak[:, None])
        value = tl.load(values + slot[:, None] + all_at[None, :], mask=seen[:, None], other=0)
        weight = weight * shrink + tl.sum(part, 1)
        total = tl.dot(part.to(value.dtype), value, total * shrink[:, None], input_precision="ieee")
        most = peak
    if active == 1:
        tl.store(result, (total / weight[:, None]).to(out.dtype.element_ty), mask=real[:, None])
        return
    head = (row * KV_HEADS + kv) * SPLITS
    peaks = partial + BATCH * (KV_HEADS * SPLITS * GROUP * WIDTH)
    weights = peaks + BATCH * KV_HEADS * SPLITS * GROUP
    found = partial + ((head + split) * GROUP + group)[:, None] * WIDTH + all_at[None, :]
    tl.store(found, total, mask=real[:, None])
    tl.store(peaks + (head + split) * GROUP + group, most, mask=real)
    tl.store(weights + (head + split) * GROUP + group, weight, mask=real)


@triton.jit
def attend_merge(  # noqa: PLR0913 - a Triton kernel
    positions, out, partial, BATCH,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, WIDTH: tl.constexpr, WINDOW: tl.constexpr, SPLITS: tl.constexpr,
    LEAST: tl.constexpr, BLOCK_D: tl.constexpr, DEPENDENT: tl.constexpr,
):  # fmt: skip
    """Grid: (HEADS, WIDTH / BLOCK_D, B)."""
    begin(DEPENDENT)
    wait(DEPENDENT)
    head, row = tl.program_id(0), tl.program_id(2).to(tl.int64)
    position = tl.load(positions + row).to(tl.int32)
    count = position + 1
    if WINDOW > 0:
        count = tl.minimum(count, WINDOW)
    share = tl.maximum(tl.cdiv(tl.cdiv(count, SPLITS), STEP) * STEP, LEAST)
    active = tl.cdiv(count, share)
    if active < 2:
        return  # one program had all, or the sequence is not in use
    GROUP: tl.constexpr = HEADS // KV_HEADS
    split = tl.arange(0, SPLITS)
    used = split < active
    kv = head // GROUP
    place = ((row * KV_HEADS + kv) * SPLITS + split) * GROUP + head % GROUP
    peaks = partial + BATCH * (KV_HEADS * SPLITS * GROUP * WIDTH)
    peak = tl.load(peaks + place, mask=used, other=-1e30)
    grow = tl.exp2(peak - tl.max(peak, 0))
    weights = peaks + BATCH * KV_HEADS * SPLITS * GROUP
    weight = tl.sum(tl.load(weights + place, mask=used, other=0) * grow, 0)
    at = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    found = tl.load(partial + place[:, None] * WIDTH + at[None, :], mask=used[:, None], other=0)
    total = tl.sum(found * grow[:, None], 0) / weight
    tl.store(out + (row * HEADS + head) * WIDTH + at, total.to(out.dtype.element_ty))
