"""ExpertGateUp and ExpertDown: products of experts over rows that are grouped by expert, as a kernel runs them.

    ExpertGateUp:  hidden[s] = gelu_tanh (x[t] G_e^T) * (x[t] U_e^T)      t = row_token[s], e = tile_expert[s / tile]
    ExpertDown:    out[s] = hidden[s] D_e^T

Shapes: x [T, H], row_token [slots], tile_expert [slots / tile] int64 (-1 where nothing is: 0 comes out here, and what was in
memory out of a kernel), weight [E, 2 * inner, H] (gate rows first) or [E, width, inner] -> hidden [slots, inner],
out [slots, width]. With a scale, weight is 4-bit codes in panels (`weights/layouts.py`), ``block`` weights a scale:
codes int8 [E, rows / 64, K / block, 64, block / 2], scale [E, rows / 64, K / block, 64]. Source: transformers
`Gemma4TextExperts.forward`, rows grouped as in Gale et al., MegaBlocks (2022).
"""

from __future__ import annotations

import numpy as np

from g4compile.ops.geglu import gelu_tanh
from g4compile.ops.registry import Array, Op, Operand
from g4compile.weights.layouts import unpack_panels


def _matrices(weight: Array, scale: Array | None) -> Array:
    """[E, rows, K] of what is stored."""
    return weight if scale is None else unpack_panels(weight, scale)


def _by_slot(rows: Array, row_token: Array, tile_expert: Array, tile: int, matrices: Array) -> Array:
    """[slots, N]: each slot's row by the matrix of its tile's expert."""
    out = np.zeros((len(rows), matrices.shape[1]), rows.dtype)
    for place, expert in enumerate(tile_expert):
        slots = slice(place * tile, (place + 1) * tile)
        if expert >= 0:
            used = row_token[slots] >= 0
            out[slots][used] = rows[slots][used] @ matrices[expert].T
    return out


def gate_up_reference(
    x: Array,
    row_token: Array,
    tile_expert: Array,
    weight: Array,
    scale: Array | None = None,
    *,
    inner: int,
    tile: int,
    block: int,
) -> Array:
    both = _by_slot(x[np.maximum(row_token, 0)], row_token, tile_expert, tile, _matrices(weight, scale))
    gate, up = both[:, :inner], both[:, inner:]
    return gelu_tanh(gate) * up


def down_reference(
    hidden: Array,
    row_token: Array,
    tile_expert: Array,
    weight: Array,
    scale: Array | None = None,
    *,
    width: int,
    tile: int,
    block: int,
) -> Array:
    return _by_slot(hidden, row_token, tile_expert, tile, _matrices(weight, scale))


_SLOTS = """
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
_STORED = """
  matrices = Identity (weight)
"""
_PANELS = """
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
_PRODUCT = """
  chosen = Gather <axis = 0> (matrices, expert)
  rows_column = Unsqueeze (rows, column)
  product_column = MatMul (chosen, rows_column)
  product = Squeeze (product_column, column)
  none = CastLike (zero, rows)
"""


def _gate_up(operands: str, weights: str) -> str:
    return f"""
ExpertGateUp <inner, tile, block> ({operands}) => (hidden) {{
{_SLOTS}{weights}
  rows = Gather <axis = 0> (x, token)
{_PRODUCT}
  gate, up = Split <axis = -1, num_outputs = 2> (product)
  active = Gelu <approximate = "tanh"> (gate)
  both = Mul (active, up)
  hidden = Where (used, both, none)
}}
"""


def _down(operands: str, weights: str) -> str:
    return f"""
ExpertDown <width, tile, block> ({operands}) => (out) {{
{_SLOTS}{weights}
  rows = Identity (hidden)
{_PRODUCT}
  out = Where (used, product, none)
}}
"""


_ROUTING = (Operand("row_token", "[slots]", "I"), Operand("tile_expert", "[tiles]", "I"))
_SCALE = Operand("scale", "[E, P, blocks, 64]", optional=True)

EXPERT_GATE_UP = Op(
    name="ExpertGateUp",
    doc=__doc__ or "",
    inputs=(Operand("x", "[T, H]"), *_ROUTING, Operand("weight", "[E, 2I, H]", "W"), _SCALE),
    outputs=(Operand("hidden", "[slots, I]"),),
    attributes={"inner": int, "tile": int, "block": int},
    reference=gate_up_reference,
    infer=lambda shapes, attributes: [(shapes[1][0], attributes["inner"])],
    bodies={
        "": _gate_up("x, row_token, tile_expert, weight, scale", _PANELS),
        "no_scale": _gate_up("x, row_token, tile_expert, weight", _STORED),
    },
).register()

EXPERT_DOWN = Op(
    name="ExpertDown",
    doc=__doc__ or "",
    inputs=(Operand("hidden", "[slots, I]"), *_ROUTING, Operand("weight", "[E, H, I]", "W"), _SCALE),
    outputs=(Operand("out", "[slots, H]"),),
    attributes={"width": int, "tile": int, "block": int},
    reference=down_reference,
    infer=lambda shapes, attributes: [(shapes[1][0], attributes["width"])],
    bodies={
        "": _down("hidden, row_token, tile_expert, weight, scale", _PANELS),
        "no_scale": _down("hidden, row_token, tile_expert, weight", _STORED),
    },
).register()
