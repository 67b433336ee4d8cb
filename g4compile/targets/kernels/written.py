"""Which arguments a kernel writes; it reads the other pointers. What writes into memory that already holds something
(caches) is not here: it is no function of operands."""

from __future__ import annotations

from g4compile.errors import Defect
from g4compile.targets.kernels.kernel import Kernel

_ALWAYS = {
    "attend_tokens": {"out"},
    "count_experts": {"counts"},
    "choose_experts": {"weights"},
    "expert_sum": {"d"},
    "place_rows": {"slot_of", "row_token", "tile_expert"},
    "product_one": {"y"},
    "product_rows": {"y"},
    "stream_rows": {"x"},
    "sum_parts": {"y"},
}


def written(kernel: Kernel) -> frozenset[str]:
    """Names of the arguments. Raises Defect for a kernel that is not known here."""
    if kernel.function not in _ALWAYS:
        raise Defect(f"it is not known what the kernel {kernel.name} writes")
    constants, found = dict(kernel.constants), set(_ALWAYS[kernel.function])
    if constants.get("ADDS") or constants.get("SCALED"):
        found.add("v")
    if kernel.function == "choose_experts":
        found |= {"slot_of", "row_token", "tile_expert"} if constants["SINGLE"] else {"index"}
    return frozenset(found)
