"""A kernel that an ONNX graph launches by name: its source, what is fixed when it is compiled, and its ladder of ways
to run. The record of a compiled one is that of `runtime/cuda/kernels.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from g4compile.targets.kernels.aot import Source, compile_source
from g4compile.targets.kernels.architectures import ARCHITECTURES

DEPENDENT_FROM = 90  # the first architecture whose kernels may start before the one in front has ended
ALIGNED = 16  # bytes of the widest load; and what sizes must be multiples of, for rows to begin at such places
Grid = tuple[str, str, str]
Constants = tuple[tuple[str, int | float], ...]


@dataclass(frozen=True)
class Way:
    """One way to run a kernel. ``constants``: those that differ between ways. ``grid``: expressions over the launch's
    integers, as `docs/design/0010-onnx-cuda.md` has them."""

    constants: Constants
    grid: Grid
    warps: int = 4
    stages: int = 3


@dataclass(frozen=True)
class Kernel:
    """``function`` of the module of this folder that ``module`` names. ``types``: of its run-time arguments, in order
    (`*bf16`, `i32`); ``aligned``: those that are multiples of 16. ``ways``: the best first."""

    name: str
    module: str
    function: str
    types: tuple[tuple[str, str], ...]
    aligned: frozenset[str]
    constants: Constants
    ways: tuple[Way, ...]

    def source(self, way: Way, dependent: bool) -> Source:
        """What is compiled; ``dependent``: it may start before the kernel in front has ended."""
        constants = (*self.constants, *way.constants, ("DEPENDENT", int(dependent)))
        return Source(self.module, self.function, self.types, constants, self.aligned, way.warps, way.stages)


@dataclass(frozen=True)
class Compiled:
    """``way`` of a kernel for one architecture."""

    way: Way
    ptx: str
    entry: str
    shared: int


def dependent(architecture: int) -> bool:
    return architecture >= DEPENDENT_FROM


def ladder(kernel: Kernel, architecture: int) -> dict[int, Compiled]:
    """By each budget of shared memory that GPUs of ``architecture`` give a block, most first, the first way that takes
    no more; equal ones once. Where no way is so small, the budget is left out. Raises MachineError without Triton."""
    found: dict[int, Compiled] = {}
    for budget in ARCHITECTURES[architecture].budgets:
        compiled = within(kernel, architecture, budget, dependent(architecture))
        if compiled is not None and compiled not in found.values():
            found[budget] = compiled
    return found


def within(kernel: Kernel, architecture: int, budget: int, dependent: bool) -> Compiled | None:
    """The first way of ``kernel`` that takes at most ``budget`` bytes of shared memory a block on ``architecture``;
    None where there is none. ``dependent``: as `Kernel.source` has it. Raises MachineError without Triton."""
    for way in kernel.ways:
        made = compile_source(kernel.source(way, dependent), architecture)
        if made.shared <= budget:
            return Compiled(way, made.ptx, made.entry, made.shared)
    return None


def types(**given: str) -> tuple[tuple[str, str], ...]:
    return tuple(given.items())


def all_aligned(kinds: Mapping[str, str], *without: str) -> frozenset[str]:
    return frozenset(kinds) - set(without)
