"""The forms in which an engine can compute masked attention over its caches, and what a fused layer of them takes.

| form | what it is |
|---|---|
| fused | one layer of attention with an additive mask |
| select | a product of [B, K, N/K, S, D] with keys [B, K, 1, T, D], hidden scores replaced, a soft-max, a product |
| folded | query heads as rows of their KV head, a mask added, a soft-max, a product; of one query sums of products |

A builder may refuse a form: TensorRT 10.16 to 11.1 refused the mask of a fused layer on several GPUs. `select` is what
NVIDIA's own client builds from sm86 to sm121. Source: NVIDIA, TensorRT-Model-Connect, issues 245, 955 and 1304, and
pull request 1048.
"""

from __future__ import annotations

from dataclasses import dataclass

FUSED, SELECT, FOLDED = "fused", "select", "folded"
FORMS = (FUSED, SELECT, FOLDED)  # in the order in which a compile tries them


@dataclass(frozen=True)
class FusedLayer:
    """What a product's fused layer takes. ``head``: the widest head. Fewest query ``heads``, and most ``slots`` of a
    cache (None: no limit is known), of one query and of more. ``otherwise``: the form of the layers that it does not
    take, in an engine whose others are fused."""

    head: int
    heads: tuple[int, int]
    slots: tuple[int | None, int | None]
    otherwise: str

    def takes(self, head: int, heads: int, slots: int, one_query: bool) -> bool:
        """Whether a layer of ``heads`` query heads of width ``head``, over ``slots`` keys, can be fused."""
        place = 0 if one_query else 1
        most = self.slots[place]
        return head <= self.head and heads >= self.heads[place] and (most is None or slots <= most)
