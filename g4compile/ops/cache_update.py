"""CacheUpdate: the new keys (or values) of one layer behind the past ones.

Shapes: new [B, K, S, D], past [B, K, P, D] -> all [B, K, P+S, D]. What a target keeps of it, and where, is
decided later (`schedule-kv-cache`). Source: transformers `Cache.update`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from g4compile.ops.registry import Array, Attributes, Op, Operand, Shape


def reference(new: Array, past: Array) -> Array:
    return np.concatenate([past, new], axis=2)


def infer(shapes: Sequence[Shape], attributes: Attributes) -> list[Shape]:
    batch, heads, count, width = shapes[0]
    past = shapes[1][2]
    total = past + count if isinstance(past, int) and isinstance(count, int) else f"{past} + {count}"
    return [(batch, heads, total, width)]


_BODY = """
CacheUpdate (new, past) => (all) {
  all = Concat <axis = 2> (past, new)
}
"""

CACHE_UPDATE = Op(
    name="CacheUpdate",
    doc=__doc__ or "",
    inputs=(Operand("new", "[B, K, S, D]"), Operand("past", "[B, K, P, D]")),
    outputs=(Operand("all", "[B, K, P+S, D]"),),
    reference=reference,
    infer=infer,
    bodies={"": _BODY},
).register()
