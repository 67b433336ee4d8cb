"""Rows of tables, angles of positions, and the likeliest token.

embed_rows:     row of a table times SCALE, bfloat16 or codes (`weights/formats/blocks.py`)
rotary_angles:  [rows, 2, R / 2]: cosines, then sines, of position * inv_freq
largest_logits, likeliest:  argmax of float32 [B, K, V] at the last K; of equal ones the lowest
"""

from __future__ import annotations

import triton
import triton.language as tl

from g4compile.targets.kernels.dependent import begin, wait


@triton.jit
def embed_rows(  # noqa: PLR0913 - a Triton kernel
    ids, table, scales, out, WIDTH, VOCABULARY, PAD, ROWS,
    SCALE: tl.constexpr, BITS: tl.constexpr, BLOCK: tl.constexpr, PIECE: tl.constexpr,
    HOLES: tl.constexpr, HOLE0: tl.constexpr, HOLE1: tl.constexpr, HOLE2: tl.constexpr, DEPENDENT: tl.constexpr,
):  # fmt: skip
    """Grid: (rows, ceil(WIDTH / PIECE)). Ids beyond the table, of rows that are not in use, read row 0."""
    begin(DEPENDENT)
    wait(DEPENDENT)
    row = tl.program_id(0).to(tl.int64)
    token = tl.load(ids + row)
    if HOLES > 0:
        token = tl.where(token == HOLE0, PAD, token)
    if HOLES > 1:
        token = tl.where(token == HOLE1, PAD, token)
    if HOLES > 2:
        token = tl.where(token == HOLE2, PAD, token)
    token = tl.where((token >= 0) & (token < VOCABULARY), token, 0)
    at = tl.program_id(1) * PIECE + tl.arange(0, PIECE)
    inside = at < WIDTH
    if BITS == 16:
        value = tl.load(table + token * WIDTH + at, mask=inside, other=0).to(tl.float32)
    else:
        PER: tl.constexpr = 8 // BITS
        blocks = tl.cdiv(WIDTH, BLOCK)
        packed = tl.load(table + token * (blocks * (BLOCK // PER)) + at // PER, mask=inside, other=0).to(tl.int32)
        code = (packed >> ((at % PER) * BITS)) & ((1 << BITS) - 1)
        scale = tl.load(scales + token * blocks + at // BLOCK, mask=inside, other=0).to(tl.float32)
        value = (code - (1 << (BITS - 1))).to(tl.float32) * scale
    tl.store(out + row * WIDTH + at, (value * SCALE).to(out.dtype.element_ty), mask=inside)


@triton.jit
def rotary_angles(positions, inv_freq, angles, HALF, ROWS, BLOCK: tl.constexpr, DEPENDENT: tl.constexpr):
    """Grid: (rows)."""
    begin(DEPENDENT)
    wait(DEPENDENT)
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    inside = at < HALF
    angle = tl.load(positions + row).to(tl.float32) * tl.load(inv_freq + at, mask=inside, other=0)
    tl.store(angles + row * 2 * HALF + at, tl.cos(angle), mask=inside)
    tl.store(angles + (row * 2 + 1) * HALF + at, tl.sin(angle), mask=inside)


@triton.jit
def largest_logits(logits, partial, VOCABULARY, KEPT, BATCH, PIECE, BLOCK: tl.constexpr, DEPENDENT: tl.constexpr):
    """Grid: (pieces, B). ``partial`` [B, pieces, 2]: the greatest of a piece, and its token as a number."""
    begin(DEPENDENT)
    wait(DEPENDENT)
    piece, row = tl.program_id(0), tl.program_id(1)
    base = logits + (row.to(tl.int64) * KEPT + KEPT - 1) * VOCABULARY
    best, token = -float("inf"), piece * PIECE
    end = tl.minimum(piece * PIECE + PIECE, VOCABULARY)
    for start in range(piece * PIECE, end, BLOCK):
        at = start + tl.arange(0, BLOCK)
        value = tl.load(base + at, mask=at < end, other=-float("inf"))
        most = tl.max(value, 0)
        first = tl.min(tl.where(value == most, at, VOCABULARY), 0)
        token = tl.where(most > best, first, token)
        best = tl.maximum(best, most)
    place = partial + (row * tl.num_programs(0) + piece) * 2
    tl.store(place, best)
    tl.store(place + 1, token.to(tl.float32))


@triton.jit
def likeliest(partial, token, PIECES, BATCH, BLOCK: tl.constexpr, DEPENDENT: tl.constexpr):
    """Grid: (B)."""
    begin(DEPENDENT)
    wait(DEPENDENT)
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    place = partial + (row * PIECES + at) * 2
    value = tl.load(place, mask=at < PIECES, other=-float("inf"))
    number = tl.load(place + 1, mask=at < PIECES, other=16777216.0)
    most = tl.max(value, 0)
    chosen = tl.min(tl.where(value == most, number, 16777216.0), 0)
    tl.store(token + row, tl.where(chosen < 16777216.0, chosen, 0.0).to(tl.int64))
