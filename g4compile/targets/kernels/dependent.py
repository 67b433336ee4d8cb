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
