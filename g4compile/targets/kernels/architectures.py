"""GPUs that kernels are compiled for, and how much shared memory a block of theirs may take.

A launcher that sets `CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES` may ask for all that the GPU gives; one that sets
nothing gets 48 kB anywhere (`PLAIN`). Source: CUDA C++ Programming Guide, technical specifications per compute
capability.
"""

from __future__ import annotations

from dataclasses import dataclass

PLAIN = 48 * 1024


@dataclass(frozen=True)
class Architecture:
    """``target`` as `ptxas` names it, the version of PTX, and the most shared memory a block, in bytes, of the GPUs
    that run its code."""

    target: str
    ptx: int
    opted_in: tuple[int, ...]

    @property
    def budgets(self) -> tuple[int, ...]:
        """What launchers on these GPUs can give a block, most first."""
        return (*self.opted_in, PLAIN)


_KB = 1024
# PTX: the first version that knows the architecture, or one that every driver reads. What runs sm80's code is the A100
# and, with less shared memory, sm86.
ARCHITECTURES = {
    80: Architecture("sm_80", 80, (163 * _KB, 99 * _KB)),
    89: Architecture("sm_89", 80, (99 * _KB,)),
    90: Architecture("sm_90a", 80, (227 * _KB,)),
    100: Architecture("sm_100a", 87, (227 * _KB,)),
    120: Architecture("sm_120a", 87, (99 * _KB,)),
}
