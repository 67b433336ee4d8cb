"""Attention over a cache by blocks of keys, for heads of any width: scores are never stored.

    out[b, h, s] = softmax (q k^T + mask) v

Key slot j is seen at position p when its own position is <= p (and > p - window).

Shapes: q [B, N, S, D], k, v [B, K, T, D], first int32 [B] (the position of query 0) -> out [B, N, S, D]. Positions make
the mask, so none is read. A linear cache (RING = 0) holds position j in slot j; a ring holds in slot j the newest
position up to the last query's that is j modulo T. Query heads of one KV head are rows of one tile, so keys and values
are read once for all of them. Sums in float32. Source: Dao et al., FlashAttention-2 (2023), algorithm 1.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _block(  # noqa: PLR0913 - a Triton kernel
    query, k, v, block, position, last, most, weight, total, SLOTS,
    WIDTH: tl.constexpr, WINDOW: tl.constexpr, RING: tl.constexpr, BLOCK_N: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """One block of keys. Without ``MASKED`` every row sees all of it."""
    at = tl.arange(0, WIDTH)
    slot = block + tl.arange(0, BLOCK_N)
    key_at = k + slot[None, :].to(tl.int64) * WIDTH + at[:, None]
    value_at = v + slot[:, None].to(tl.int64) * WIDTH + at[None, :]
    held = slot
    if RING:
        age = (last - slot) % SLOTS
        age = tl.where(age < 0, age + SLOTS, age)
        held = last - age
    stored = (slot < SLOTS) & (held >= 0) & (held <= last)  # nothing is read where nothing was written
    key = tl.load(key_at, mask=stored[None, :], other=0)
    scores = tl.dot(query, key) * 1.4426950408889634  # powers of two are what the hardware has
    if MASKED:
        seen = stored[None, :] & (held[None, :] <= position[:, None])
        if WINDOW > 0:
            seen &= held[None, :] > position[:, None] - WINDOW
        scores = tl.where(seen, scores, -1e30)
    peak = tl.maximum(most, tl.max(scores, 1))
    shrink = tl.exp2(most - peak)
    share = tl.exp2(scores - peak[:, None])
    if MASKED:
        share = tl.where(seen, share, 0.0)  # a row that has seen nothing yet has its peak at the mask
    value = tl.load(value_at, mask=stored[:, None], other=0)
    weight = weight * shrink + tl.sum(share, 1)
    total = tl.dot(share.to(value.dtype), value, total * shrink[:, None])
    return peak, weight, total


@triton.jit
def flash_attention(  # noqa: PLR0913 - a Triton kernel
    q,
    k,
    v,
    first,
    NEW,
    SLOTS,
    out,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    WINDOW: tl.constexpr,
    RING: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    """One program: ``BLOCK_M`` rows (query positions times heads of a group). Grid: (B * K, ceil(S * group / BLOCK_M)):
    the last rows, which see most keys, are started first."""
    GROUP: tl.constexpr = HEADS // KV_HEADS
    batch, kv_head = tl.program_id(0) // KV_HEADS, tl.program_id(0) % KV_HEADS
    tile = tl.num_programs(1) - 1 - tl.program_id(1)
    start = tl.load(first + batch)
    row = tile * BLOCK_M + tl.arange(0, BLOCK_M)
    token, head = row // GROUP, kv_head * GROUP + row % GROUP
    real = token < NEW
    position = start + token
    at = tl.arange(0, WIDTH)
    place = ((batch * HEADS + head).to(tl.int64) * NEW + token) * WIDTH
    query = tl.load(q + place[:, None] + at[None, :], mask=real[:, None], other=0)
    cache = (batch * KV_HEADS + kv_head).to(tl.int64) * SLOTS * WIDTH
    k += cache
    v += cache
    last = start + NEW - 1
    most = tl.full((BLOCK_M,), -1e30, tl.float32)
    weight = tl.zeros((BLOCK_M,), tl.float32)
    total = tl.zeros((BLOCK_M, WIDTH), tl.float32)
    if RING:
        for block in range(0, SLOTS, BLOCK_N):
            most, weight, total = _block(
                query, k, v, block, position, last, most, weight, total, SLOTS, WIDTH, WINDOW, RING, BLOCK_N, True
            )
    else:  # keys before the first row's window and behind the last row are not read; those between are not masked
        tile_first = start + tile * BLOCK_M // GROUP
        tile_last = tl.minimum(start + (tile * BLOCK_M + BLOCK_M - 1) // GROUP, last)
        end = tl.minimum(tile_last + 1, SLOTS)
        begin, clear = 0, 0
        if WINDOW > 0:
            begin = tl.maximum(tile_first - WINDOW + 1, 0) // BLOCK_N * BLOCK_N
            clear = tl.cdiv(tl.maximum(tile_last - WINDOW + 1, 0), BLOCK_N) * BLOCK_N
        diagonal = tl.maximum((tile_first + 1) // BLOCK_N * BLOCK_N, begin)
        clear = tl.minimum(clear, diagonal)
        for block in range(begin, clear, BLOCK_N):
            most, weight, total = _block(
                query, k, v, block, position, last, most, weight, total, SLOTS, WIDTH, WINDOW, RING, BLOCK_N, True
            )
        for block in range(clear, diagonal, BLOCK_N):
            most, weight, total = _block(
                query, k, v, block, position, last, most, weight, total, SLOTS, WIDTH, WINDOW, RING, BLOCK_N, False
            )
        for block in range(diagonal, end, BLOCK_N):
            most, weight, total = _block(
                query, k, v, block, position, last, most, weight, total, SLOTS, WIDTH, WINDOW, RING, BLOCK_N, True
            )
    result = total / tl.where(weight > 0, weight, 1.0)[:, None]
    tl.store(out + place[:, None] + at[None, :], result.to(query.dtype), mask=real[:, None])
