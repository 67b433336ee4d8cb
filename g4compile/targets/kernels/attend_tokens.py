"""Attention of many new tokens over a cache that already holds them, by blocks of keys: scores are never stored.

    out[b, s, h] = softmax (q k^T + mask) v

The key of position j is seen at position p when j <= p (and j > p - window). Query and out are [B, S, N, D], keys and
values [B, K, SLOTS, D], positions [B, S] ascending by 1, and -1 behind them for rows that are not in use, whose result
is 0. Positions make the mask, so none is read. Keys are walked by position, and position p is read from slot p modulo
SLOTS, so a ring costs no more than its window. Query heads of one KV head are rows of one tile, so keys and values are
read once for all of them. Sums in float32.
Source: Dao et al., FlashAttention-2 (2023), algorithm 1.
"""

from __future__ import annotations

import triton
import triton.language as tl

from g4compile.targets.kernels.dependent import begin, wait

LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def _block(  # noqa: PLR0913 - a Triton kernel
    query, keys, values, start, end, position, most, weight, total, SLOTS,
    WIDTH: tl.constexpr, WINDOW: tl.constexpr, BLOCK_N: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """Keys of positions from ``start`` on. Without ``MASKED`` every row sees all of them."""
    at = tl.arange(0, WIDTH)
    held = start + tl.arange(0, BLOCK_N)
    slot = (held % SLOTS).to(tl.int64) * WIDTH
    if MASKED:
        key = tl.load(keys + slot[None, :] + at[:, None], mask=(held < end)[None, :], other=0)
    else:
        key = tl.load(keys + slot[None, :] + at[:, None])
    scores = tl.dot(query, key, input_precision="ieee") * LOG2E
    if MASKED:
        seen = held[None, :] <= position[:, None]
        if WINDOW > 0:
            seen &= held[None, :] > position[:, None] - WINDOW
        scores = tl.where(seen, scores, -1e30)
    peak = tl.maximum(most, tl.max(scores, 1))
    shrink = tl.exp2(most - peak)
    share = tl.exp2(scores - peak[:, None])
    if MASKED:
        share = tl.where(seen, share, 0.0)  # a row that has seen nothing yet has its peak at the mask
        value = tl.load(values + slot[:, None] + at[None, :], mask=(held < end)[:, None], other=0)
    else:
        value = tl.load(values + slot[:, None] + at[None, :])
    weight = weight * shrink + tl.sum(share, 1)
    total = tl.dot(share.to(value.dtype), value, total * shrink[:, None], input_precision="ieee")
    return peak, weight, total


@triton.jit
def attend_tokens(  # noqa: PLR0913 - a Triton kernel
    query, positions, keys, values, out, SLOTS, TOKENS, BATCH,
    HEADS: tl.constexpr, KV_HEADS: tl.constexpr, WIDTH: tl.constexpr, WINDOW: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, DEPENDENT: tl.constexpr,
):  # fmt: skip
    """One program: ``BLOCK_M`` rows (tokens times heads of a group). Grid: (B * K, ceil(S * group / BLOCK_M)): the last
    rows, which see most keys, are started first."""
    begin(DEPENDENT)
    wait(DEPENDENT)
    GROUP: tl.constexpr = HEADS // KV_HEADS
    batch, kv_head = tl.program_id(0) // KV_HEADS, tl.program_id(0) % KV_HEADS
    tile = tl.num_programs(1) - 1 - tl.program_id(1)
    first = tl.load(positions + batch.to(tl.int64) * TOKENS).to(tl.int32)
    row = tile * BLOCK_M + tl.arange(0, BLOCK_M)
    token, head = row // GROUP, kv_head * GROUP + row % GROUP
    real = token < TOKENS
    position = tl.load(positions + batch.to(tl.int64) * TOKENS + token, mask=real, other=-1).to(tl.int32)
    at = tl.arange(0, WIDTH)
    place = ((batch * TOKENS + token).to(tl.int64) * HEADS + head) * WIDTH
    rows = tl.load(query + place[:, None] + at[None, :], mask=real[:, None], other=0)
    cache = (batch * KV_HEADS + kv_head).to(tl.int64) * SLOTS * WIDTH
    keys += cache
    values += cache
    tile_last = tl.max(position, 0)
    tile_first = tl.minimum(first + tile * BLOCK_M // GROUP, tile_last)  # -1 and -1 where no row is in use: no keys
    end = tile_last + 1
    begins, clear = 0, 0
    if WINDOW > 0:
        begins = tl.maximum(tile_first - WINDOW + 1, 0) // BLOCK_N * BLOCK_N
        clear = tl.cdiv(tl.maximum(tile_last - WINDOW + 1, 0), BLOCK_N) * BLOCK_N
    diagonal = tl.maximum((tile_first + 1) // BLOCK_N * BLOCK_N, begins)
    clear = tl.minimum(clear, diagonal)
    most = tl.full((BLOCK_M,), -1e30, tl.float32)
    weight = tl.zeros((BLOCK_M,), tl.float32)
    total = tl.zeros((BLOCK_M, WIDTH), tl.float32)
    for start in range(begins, clear, BLOCK_N):
        most, weight, total = _block(
            rows, keys, values, start, end, position, most, weight, total, SLOTS, WIDTH, WINDOW, BLOCK_N, True
        )
    for start in range(clear, diagonal, BLOCK_N):
        most, weight, total = _block(
            rows, keys, values, start, end, position, most, weight, total, SLOTS, WIDTH, WINDOW, BLOCK_N, False
        )
    for start in range(diagonal, end, BLOCK_N):
        most, weight, total = _block(
            rows, keys, values, start, end, position, most, weight, total, SLOTS, WIDTH, WINDOW, BLOCK_N, True
        )
    result = tl.where((position >= 0)[:, None], total / tl.where(weight > 0, weight, 1.0)[:, None], 0.0)
    tl.store(out + place[:, None] + at[None, :], result.to(out.dtype.element_ty), mask=real[:, None])
