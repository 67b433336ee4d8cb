"""CacheUpdate: the new keys (or values) of one layer behind the past ones.

Shapes: new [B, K, S, D], past [B, K, P, D] -> all [B, K, P+S, D]. What a target keeps of it, and where, is
decided later (`schedule-kv-cache`). Source: transformers `Cache.update`.
"""

from __future__ import annotations

import numpy as np

from g4compile.ops.op import Array, Input, Op, Output, span


def reference(new: Array, past: Array) -> Array:
    return np.concatenate([past, new], axis=2)


_BODY = """
CacheUpdate (new, past) => (all) {
  all = Concat <axis = 2> (past, new)
}
"""


class CacheUpdate(Op):
    new = Input("[B, K, S, D]")
    past = Input("[B, K, P, D]")
    all = Output("[B, K, P+S, D]")
    stages = span("traced", "fused")
    reference = staticmethod(reference)
    bodies = {"": _BODY}
