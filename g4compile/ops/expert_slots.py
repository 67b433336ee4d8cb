"""What the products of experts over grouped rows share: which rows a tile multiplies, with what, in NumPy and in ONNX
ops.

Rows stand in slots, tiles of slots belong to one expert (`expert_routing.py`). Weights [E, N, K], or 4-bit codes in
panels (`weights/layouts.py`) with scales [E, N / 64, K / block, 64].
"""

from __future__ import annotations

import numpy as np

from g4compile.ops.op import Array
from g4compile.weights.layouts import unpack_panels


def matrices_of(weight: Array, scale: Array | None) -> Array:
    """[E, rows, K] of what is stored."""
    return weight if scale is None else unpack_panels(weight, scale)


def by_slot(rows: Array, row_token: Array, tile_expert: Array, tile: int, matrices: Array) -> Array:
    """[slots, N]: each slot's row by the matrix of its tile's expert."""
    out = np.zeros((len(rows), matrices.shape[1]), rows.dtype)
    for place, expert in enumerate(tile_expert):
        slots = slice(place * tile, (place + 1) * tile)
        if expert >= 0:
            used = row_token[slots] >= 0
            out[slots][used] = rows[slots][used] @ matrices[expert].T
    return out


SLOTS = """
  column = Constant <value_ints = [-1]> ()
  first = Constant <value_ints = [0]> ()
  zero = Constant <value_int = 0> ()
  tile_scalar = Constant <value_int: int = @tile> ()
  tile_size = Unsqueeze (tile_scalar, first)
  tiles = Shape (tile_expert)
  grid = Concat <axis = 0> (tiles, tile_size)
  by_tile = Unsqueeze (tile_expert, column)
  spread = Expand (by_tile, grid)
  expert_or_none = Reshape (spread, column)
  expert = Max (expert_or_none, zero)
  token = Max (row_token, zero)
  tile_used = GreaterOrEqual (expert_or_none, zero)
  row_used = GreaterOrEqual (row_token, zero)
  slot_used = And (tile_used, row_used)
  used = Unsqueeze (slot_used, column)
"""
STORED = """
  matrices = Identity (weight)
"""
PANELS = """
  bytes_signed = Cast <to = 7> (weight)
  whole_byte = Constant <value_int = 256> ()
  half_byte = Constant <value_int = 16> ()
  middle = Constant <value_int = 8> ()
  bytes_shifted = Add (bytes_signed, whole_byte)
  bytes = Mod (bytes_shifted, whole_byte)
  low = Mod (bytes, half_byte)
  high = Div (bytes, half_byte)
  levels = Concat <axis = -1> (low, high)
  centred_levels = Sub (levels, middle)
  centred = CastLike (centred_levels, scale)
  scale_column = Unsqueeze (scale, column)
  by_panel = Mul (centred, scale_column)
  by_row = Transpose <perm = [0, 1, 3, 2, 4]> (by_panel)
  joined_sizes = Constant <value_ints = [0, 0, 0, -1]> ()
  joined = Reshape (by_row, joined_sizes)
  experts = Shape <start = 0, end = 1> (joined)
  columns = Shape <start = 3, end = 4> (joined)
  sizes = Concat <axis = 0> (experts, column, columns)
  matrices = Reshape (joined, sizes)
"""
PRODUCT = """
  chosen = Gather <axis = 0> (matrices, expert)
  rows_column = Unsqueeze (rows, column)
  product_column = MatMul (chosen, rows_column)
  product = Squeeze (product_column, column)
  none = CastLike (zero, rows)
"""
