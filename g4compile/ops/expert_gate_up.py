"""ExpertGateUp: gate, up and GELU of experts over rows that are grouped by expert, as a kernel runs them.

    hidden[s] = gelu_tanh (x[t] G_e^T) * (x[t] U_e^T)      t = row_token[s], e = tile_expert[s / tile]

Shapes: x [T, H], row_token [slots], tile_expert [slots / tile] int64 (-1 where nothing is: 0 comes out here, and what
was in memory out of a kernel), weight [E, 2 * inner, H] (gate rows first) -> hidden [slots, inner]. With a scale,
weight is 4-bit codes in panels (`weights/layouts.py`), ``block`` weights per scale: codes int8 [E, rows / 64, K /
block, 64, block / 2], scale [E, rows / 64, K / block, 64]. Source: transformers `Gemma4TextExperts.forward`, rows
grouped as in Gale et al., MegaBlocks (2022).
"""

from __future__ import annotations

import numpy as np

from g4compile.ops.expert_slots import PANELS, PRODUCT, SLOTS, STORED, by_slot, matrices_of
from g4compile.ops.geglu import gelu_tanh
from g4compile.ops.op import Array, Attribute, Input, Op, OptionalInput, Output


def reference(
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
    both = by_slot(x[np.maximum(row_token, 0)], row_token, tile_expert, tile, matrices_of(weight, scale))
    gate, up = both[:, :inner], both[:, inner:]
    return gelu_tanh(gate) * up


def _body(operands: str, weights: str) -> str:
    return f"""
ExpertGateUp <inner, tile, block> ({operands}) => (hidden) {{
{SLOTS}{weights}
  rows = Gather <axis = 0> (x, token)
{PRODUCT}
  gate, up = Split <axis = -1, num_outputs = 2> (product)
  active = Gelu <approximate = "tanh"> (gate)
  both = Mul (active, up)
  hidden = Where (used, both, none)
}}
"""


class ExpertGateUp(Op):
    x = Input("[T, H]")
    row_token = Input("[slots]", "I")
    tile_expert = Input("[tiles]", "I")
    weight = Input("[E, 2I, H] or [E, P, blocks, 64, bytes]", "W", weight=True)
    scale = OptionalInput("[E, P, blocks, 64]")
    hidden = Output("[slots, I]")
    inner = Attribute(int, size="I")
    tile = Attribute(int)
    block = Attribute(int)
    reference = staticmethod(reference)
    bodies = {
        "": _body("x, row_token, tile_expert, weight, scale", PANELS),
        "no_scale": _body("x, row_token, tile_expert, weight", STORED),
    }
