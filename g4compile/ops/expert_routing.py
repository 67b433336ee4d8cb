"""Which rows an expert's product reads: assignments sorted by expert, each expert's padded to whole tiles.

    assignments  (token, choice) pairs, T * k of them, as t * k + choice
    slot         where an assignment's row stands: expert by expert, in tiles of ``tile`` rows that belong to one expert
    row_token    [slots] the token of each slot, -1 where it only pads
    tile_expert  [slots / tile] the expert of each tile, -1 behind the last one that is used
    slot_of      [T, k] the slot of each assignment: products are gathered back by it and summed over k, no scatter

The number of slots depends on T and k alone (`slot_count`), so buffers and launches are of fixed size. This is the
NumPy statement; on a GPU it is `targets/kernels/routing.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def tile_of(tokens: int) -> int:
    """Rows of a tile for at most ``tokens``: what a routing and both products share."""
    return 16 if tokens <= 64 else 64 if tokens <= 1024 else 128


def slot_count(tokens: int, choices: int, experts: int, tile: int) -> int:
    """Most slots that ``tokens`` can need: full tiles of all assignments, and one begun tile an expert that is hit."""
    assignments = tokens * choices
    return (assignments // tile + min(experts, assignments)) * tile


def route(index: Array, experts: int, tile: int) -> tuple[Array, Array, Array]:
    """``index`` [T, k] of chosen experts -> row_token, tile_expert, slot_of, all int32."""
    tokens, choices = index.shape
    slots = slot_count(tokens, choices, experts, tile)
    row_token = np.full(slots, -1, np.int32)
    tile_expert = np.full(slots // tile, -1, np.int32)
    slot_of = np.zeros((tokens, choices), np.int32)
    start = 0
    for expert in range(experts):
        token, choice = np.nonzero(index == expert)
        if not len(token):
            continue
        row_token[start : start + len(token)] = token
        slot_of[token, choice] = np.arange(start, start + len(token))
        used = -(-len(token) // tile)
        tile_expert[start // tile : start // tile + used] = expert
        start += used * tile
    return row_token, tile_expert, slot_of
