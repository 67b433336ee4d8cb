"""What a launcher must know of a compiled kernel, as a plain record: no Triton, no TensorRT.

A kernel's arguments are pointers and 32-bit integers, in this order: inputs, integers that follow from sizes, the
output. Sizes that are known at run time alone stand as formulas of the inputs' shapes (`Size`), which are simple enough
for a launcher in any language. `artefacts.py` says how a set of records is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from g4compile.targets.kernels.architectures import PLAIN

BYTES = {"bf16": 2, "i8": 1, "i32": 4}


def ceiling(value: Any, over: Any) -> Any:
    """``value / over`` of integers, rounded up."""
    return -(-value // over)


@dataclass(frozen=True)
class Size:
    """``ceil (times * the product of dims / over)``. A dim is an axis of an input: its name and the axis."""

    dims: tuple[tuple[str, int], ...] = ()
    times: int = 1
    over: int = 1

    def of(self, shapes: Mapping[str, Sequence[Any]], divide: Callable[[Any, Any], Any] = ceiling) -> Any:
        """The number, from ``shapes`` of the inputs by name. ``divide`` rounds up: symbols have a division of their
        own."""
        if not self.dims:
            return ceiling(self.times, self.over)
        value: Any = 1
        for place, (name, axis) in enumerate(self.dims):
            value = shapes[name][axis] * value if place else shapes[name][axis]
        if self.times > 1:
            value = value * self.times
        return divide(value, self.over) if self.over > 1 else value


@dataclass(frozen=True)
class Argument:
    """One argument. ``kind``: `input`, `size` (an integer, from ``value``) or `output` (of ``shape``). ``align``: the
    address must be a multiple of so many bytes; the code was made on that promise."""

    name: str
    kind: str
    dtype: str
    align: int = 0
    value: Size | None = None
    shape: tuple[Size, ...] = ()


@dataclass(frozen=True)
class Launch:
    """``entry`` of a module for GPUs of ``target``, started with ``threads`` a block and ``shared`` bytes of dynamic
    shared memory on a grid of blocks. ``attributes``: what was fixed when it was compiled, by which a caller finds
    it."""

    kernel: str
    attributes: tuple[tuple[str, int], ...]
    target: str
    entry: str
    arguments: tuple[Argument, ...]
    grid: tuple[Size, ...]
    threads: int
    shared: int

    @property
    def opt_in(self) -> bool:
        """Whether a launcher must first allow the kernel so much shared memory."""
        return self.shared > PLAIN

    def of_kind(self, kind: str) -> list[Argument]:
        return [one for one in self.arguments if one.kind == kind]

    def json(self) -> dict[str, Any]:
        return {**asdict(self), "attributes": dict(self.attributes)}

    @classmethod
    def parse(cls, record: Mapping[str, Any]) -> Launch:
        """From what `json` gives, read back from a file."""
        arguments = tuple(
            replace(
                Argument(**one),
                value=None if one["value"] is None else _size(one["value"]),
                shape=tuple(_size(size) for size in one["shape"]),
            )
            for one in record["arguments"]
        )
        return cls(
            **{
                **record,
                "attributes": tuple(record["attributes"].items()),
                "arguments": arguments,
                "grid": tuple(_size(size) for size in record["grid"]),
            }
        )


def _size(record: Mapping[str, Any]) -> Size:
    return Size(tuple((name, axis) for name, axis in record["dims"]), record["times"], record["over"])
