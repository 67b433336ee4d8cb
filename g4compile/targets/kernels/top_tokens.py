"""The TOP likeliest tokens of float32 logits [B, K, V] at the last K, in total order: the greatest logit first, of
equal ones the lowest token; -0 is 0. So a choice among them needs no other logit (`runtime/sampling.py`).

top_of_pieces:  the TOP of each piece of the vocabulary, as keys
top_of_all:     the TOP of those, as logits and tokens

A key is a number of 64 bits, in the order of likelihood: the logit's bits, made to rise with it, above the token, made
to fall with it. No two are equal, so that any way of sorting gives one order. A logit that is no number is the
likeliest of all: whoever looks at the first one sees it.
"""

from __future__ import annotations

import triton
import triton.language as tl

from g4compile.targets.kernels.dependent import begin, wait


@triton.jit
def _least(SIZE: tl.constexpr):
    """Keys below that of any token."""
    return tl.full((SIZE,), -0x8000000000000000, tl.int64)


@triton.jit
def top_of_pieces(
    logits, keys, VOCABULARY, KEPT, BATCH, PIECE: tl.constexpr, TOP: tl.constexpr, DEPENDENT: tl.constexpr
):
    """Grid: (pieces, B). ``keys`` [B, pieces, TOP]: of a piece with fewer tokens the last ones are the least."""
    begin(DEPENDENT)
    wait(DEPENDENT)
    piece, row = tl.program_id(0), tl.program_id(1)
    base = logits + (row.to(tl.int64) * KEPT + KEPT - 1) * VOCABULARY
    token = piece * PIECE + tl.arange(0, PIECE)
    inside = token < VOCABULARY
    value = tl.load(base + token, mask=inside, other=0)
    bits = tl.where(value == 0, 0.0, value).to(tl.int32, bitcast=True)
    bits = tl.where((bits & 0x7FFFFFFF) > 0x7F800000, 0x7FC00000, bits)  # no number, whatever its sign
    rising = tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    key = (rising.to(tl.int64) << 32) | (0x7FFFFFFF - token).to(tl.int64)
    best = tl.topk(tl.where(inside, key, _least(PIECE)), TOP)
    tl.store(keys + (row * tl.num_programs(0) + piece) * TOP + tl.arange(0, TOP), best)


@triton.jit
def top_of_all(
    keys, top_logits, top_tokens, COUNT, BATCH, BLOCK: tl.constexpr, TOP: tl.constexpr, DEPENDENT: tl.constexpr
):
    """Grid: (B). ``keys`` [B, COUNT]. Where there are fewer tokens, minus infinity and -1 stand behind them."""
    begin(DEPENDENT)
    wait(DEPENDENT)
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    key = tl.load(keys + row * COUNT + at, mask=at < COUNT, other=0)
    best = tl.topk(tl.where(at < COUNT, key, _least(BLOCK)), TOP)
    found = best > _least(TOP)
    rising = (best >> 32).to(tl.int32)
    bits = tl.where(rising < 0, rising ^ 0x7FFFFFFF, rising)
    value = tl.where(found, bits.to(tl.float32, bitcast=True), -float("inf"))
    token = tl.where(found, 0x7FFFFFFF - (best & 0x7FFFFFFF), -1)
    place = row * TOP + tl.arange(0, TOP)
    tl.store(top_logits + place, value)
    tl.store(top_tokens + place, token)
