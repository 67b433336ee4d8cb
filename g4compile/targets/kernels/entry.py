"""The parameters of a kernel's entry in PTX: which there are, and in which order. The body reads them by name, so both
can change without it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from g4compile.errors import Defect

_UNREAD = ".param .u64 .ptr .global .align 1"


@dataclass(frozen=True)
class Entry:
    """``head`` up to the parameters, one line each, and the ``body`` behind them."""

    name: str
    head: str
    parameters: tuple[str, ...]
    body: str

    @classmethod
    def of(cls, ptx: str, name: str) -> Entry:
        """That of ``ptx`` which is called ``name``. Raises Defect where there is none."""
        found = re.search(rf"\.entry {name}\((.*?)\)", ptx, re.DOTALL)
        if found is None:
            raise Defect(f"the PTX has no entry {name}")
        lines = tuple(line.strip().rstrip(",") for line in found[1].strip().split("\n"))
        return cls(name, ptx[: found.start(1)], lines, ptx[found.end(1) :])

    def without(self, count: int) -> Entry:
        """Without the last ``count`` parameters. Raises Defect where the body reads one."""
        return self.taking(range(len(self.parameters) - count), {})

    def taking(self, order: Sequence[int | None], same: Mapping[int, int]) -> Entry:
        """With the parameters ``order``; None is an address that is not read. ``same``: parameters that are left out,
        and the one whose value they have. Raises Defect where the body reads another that is left out."""
        body = self.body
        for gone in set(range(len(self.parameters))) - set(order):
            symbol = rf"\b{_symbol(self.parameters[gone])}\b"
            if gone in same:
                body = re.sub(symbol, _symbol(self.parameters[same[gone]]), body)
            elif re.search(symbol, body):
                raise Defect(f"the kernel {self.name} reads parameter {gone}, which its launcher does not give it")
        unread = (f"{_UNREAD} {self.name}_unread_{place}" for place in range(len(order)))
        lines = [next(unread) if place is None else self.parameters[place] for place in order]
        return Entry(self.name, self.head, tuple(lines), body)

    @property
    def ptx(self) -> str:
        lines = ",\n".join(f"\t{parameter}" for parameter in self.parameters)
        return f"{self.head}\n{lines}\n{self.body}"


def _symbol(parameter: str) -> str:
    return parameter.rsplit(maxsplit=1)[-1]
