"""A kernel that may start before the one in front of it has ended (programmatic dependent launch, sm90 and later).

It lets its successor start at once, reads what no kernel writes (weights), and waits before it reads or writes anything
else. A predecessor has then ended, and so have all before it: each waits in turn. Source: CUDA C++ Programming Guide,
programmatic dependent launch.
"""

from __future__ import annotations

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait


@triton.jit
def begin(DEPENDENT: tl.constexpr):
    """The first statement of a kernel: its successor may start."""
    if DEPENDENT:
        gdc_launch_dependents()


@triton.jit
def wait(DEPENDENT):
    """Behind it, everything that earlier kernels wrote is there."""
    if DEPENDENT:
        gdc_wait()


@triton.jit
def fetch(pointers, DEPENDENT):
    """Bring the lines at ``pointers`` into the cache that all of a GPU shares, and go on. It changes nothing, so it may
    stand before a wait."""
    if DEPENDENT:
        tl.inline_asm_elementwise(
            "prefetch.global.L2 [$1]; mov.b32 $0, 0;", "=r,l", [pointers.to(tl.int64)], dtype=tl.int32, is_pure=False,
            pack=1,
        )  # fmt: skip
