"""ExpertDown: the down product of experts over rows that are grouped by expert, as a kernel runs it.

    out[s] = hidden[s] D_e^T      e = tile_expert[s / tile]

Shapes: hidden [slots, inner], row_token [slots], tile_expert [slots / tile] int64 (-1 where nothing is), weight
[E, width, inner] -> out [slots, width]. With a scale, weight is 4-bit codes in panels, as in `ExpertGateUp`.
Source: transformers `Gemma4TextExperts.forward`, rows grouped as in Gale et al., MegaBlocks (2022).
"""

from __future__ import annotations

from g4compile.ops.expert_slots import PANELS, PRODUCT, SLOTS, STORED, by_slot, matrices_of
from g4compile.ops.op import Array, Attribute, Input, Op, OptionalInput, Output


def reference(
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
    return by_slot(hidden, row_token, tile_expert, tile, matrices_of(weight, scale))


def _body(operands: str, weights: str) -> str:
    return f"""
ExpertDown <width, tile, block> ({operands}) => (out) {{
{SLOTS}{weights}
  rows = Identity (hidden)
{PRODUCT}
  out = Where (used, product, none)
}}
"""


class ExpertDown(Op):
    hidden = Input("[slots, I]")
    row_token = Input("[slots]", "I")
    tile_expert = Input("[tiles]", "I")
    weight = Input("[E, H, I] or [E, P, blocks, 64, bytes]", "W", weight=True)
    scale = OptionalInput("[E, P, blocks, 64]")
    out = Output("[slots, H]")
    width = Attribute(int, size="H")
    tile = Attribute(int)
    block = Attribute(int)
    reference = staticmethod(reference)
    bodies = {
        "": _body("hidden, row_token, tile_expert, weight, scale", PANELS),
        "no_scale": _body("hidden, row_token, tile_expert, weight", STORED),
    }
