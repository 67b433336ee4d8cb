"""Which experts a token takes, and where its rows stand: a few kernels, no sort, nothing on the host.

    choose_experts  soft-max over all experts, the k largest, their shares; index [rows, k], weights float32 [rows, k]
    count_experts   how many rows each expert has, and the tiles that they take
    place_rows      slot_of [rows, k], row_token [slots], tile_expert [tiles]

As `ops/expert_routing.py`: assignments of an expert keep their order. Of equal logits the lowest expert is first.
Source: transformers `Gemma4TextRouter.forward`.
"""

from __future__ import annotations

import triton
import triton.language as tl

from g4compile.targets.kernels.dependent import begin, wait


@triton.jit
def choose_experts(  # noqa: PLR0913 - a Triton kernel
    logits, expert_scale, weights, index, slot_of, row_token, tile_expert, ROWS,
    EXPERTS: tl.constexpr, BLOCK: tl.constexpr, CHOICES: tl.constexpr, SINGLE: tl.constexpr, DEPENDENT: tl.constexpr,
):  # fmt: skip
    """Grid: (rows). With ``SINGLE`` there is one row: each choice is a tile of one slot, and all is placed at once."""
    begin(DEPENDENT)
    wait(DEPENDENT)
    token = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    inside = at < EXPERTS
    value = tl.load(logits + token * EXPERTS + at, mask=inside, other=-float("inf"))
    share = tl.exp(value - tl.max(value, 0))
    share = tl.where(inside, share, -1.0)
    taken = share
    sum_of_chosen = 0.0
    for _ in tl.static_range(CHOICES):
        most = tl.max(taken, 0)
        first = tl.min(tl.where(taken == most, at, BLOCK), 0)
        sum_of_chosen += most
        taken = tl.where(at == first, -2.0, taken)
    taken = share
    for choice in tl.static_range(CHOICES):
        most = tl.max(taken, 0)
        first = tl.min(tl.where(taken == most, at, BLOCK), 0)
        taken = tl.where(at == first, -2.0, taken)
        place = token * CHOICES + choice
        factor = tl.load(expert_scale + first).to(tl.float32)
        tl.store(weights + place, most / sum_of_chosen * factor)
        if SINGLE:
            tl.store(slot_of + place, choice)
            tl.store(row_token + choice, 0)
            tl.store(tile_expert + choice, first)
        else:
            tl.store(index + place, first)


@triton.jit
def count_experts(index, counts, ASSIGNMENTS, EXPERTS, BLOCK: tl.constexpr, DEPENDENT: tl.constexpr):
    """Grid: (experts)."""
    begin(DEPENDENT)
    wait(DEPENDENT)
    expert = tl.program_id(0)
    total = 0
    for start in range(0, ASSIGNMENTS, BLOCK):
        at = start + tl.arange(0, BLOCK)
        chosen = tl.load(index + at, mask=at < ASSIGNMENTS, other=-1)
        total += tl.sum((chosen == expert).to(tl.int32), 0)
    tl.store(counts + expert, total)


@triton.jit
def place_rows(  # noqa: PLR0913 - a Triton kernel
    index, counts, slot_of, row_token, tile_expert, ASSIGNMENTS, EXPERTS, TILES,
    CHOICES: tl.constexpr, TILE: tl.constexpr, EXPERT_BLOCK: tl.constexpr, BLOCK: tl.constexpr,
    DEPENDENT: tl.constexpr,
):  # fmt: skip
    """Grid: (experts). Each fills its own tiles; the last also those that nobody has."""
    begin(DEPENDENT)
    wait(DEPENDENT)
    expert = tl.program_id(0)
    other = tl.arange(0, EXPERT_BLOCK)
    count = tl.load(counts + other, mask=other < EXPERTS, other=0)
    tiles = (count + TILE - 1) // TILE
    before = tl.sum(tl.where(other < expert, tiles, 0), 0)
    mine = tl.sum(tl.where(other == expert, tiles, 0), 0)
    have = tl.sum(tl.where(other == expert, count, 0), 0)
    slot = before * TILE
    for start in range(0, ASSIGNMENTS, BLOCK):
        at = start + tl.arange(0, BLOCK)
        hit = (tl.load(index + at, mask=at < ASSIGNMENTS, other=-1) == expert).to(tl.int32)
        place = slot + tl.cumsum(hit, 0) - hit
        tl.store(slot_of + at, place, mask=hit > 0)
        tl.store(row_token + place, at // CHOICES, mask=hit > 0)
        slot += tl.sum(hit, 0)
    pad = before * TILE + have + tl.arange(0, TILE)
    tl.store(row_token + pad, -1, mask=pad < (before + mine) * TILE)
    for number in range(before, before + mine):
        tl.store(tile_expert + number, expert)
    if expert == EXPERTS - 1:
        for number in range(before + mine, TILES):
            tl.store(tile_expert + number, -1)
            tl.store(row_token + number * TILE + tl.arange(0, TILE), -1)
