"""What a check of a manifest finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from g4compile.bundle.kv import PARTS, width
from g4compile.bundle.manifest import KVSpec, TensorSpec

Expected = dict[str, tuple[str, tuple[int | None, ...]]]  # tensors by name: dtype and shape, None for a dynamic size
Faults = Iterator[tuple[str, str]]  # what contradicts, and why; nothing when all agrees


def repeated(names: Iterable[str]) -> list[str]:
    """Those of ``names`` that stand there more than once."""
    return [name for name, count in Counter(names).items() if count > 1]


def fixed(size: int | str) -> int | None:
    """A size of a shape; None for a dynamic one."""
    return size if isinstance(size, int) else None


def misfits(kind: str, declared: Sequence[TensorSpec], expected: Expected) -> Faults:
    """``declared`` tensors against what they must be by name: dtype and shape, None for a dynamic size."""
    found: Expected = {tensor.name: (tensor.dtype, tuple(map(fixed, tensor.shape))) for tensor in declared}
    for name in sorted({*found, *expected}):
        if found.get(name) != expected.get(name):
            said, needed = (_shown(tensors.get(name)) for tensors in (found, expected))
            yield f"{name}, {kind}, is {said} in graphs, but by the other fields of the manifest {needed}", ""


def kv_tensors(kv: KVSpec, begin: str, growing: bool) -> Expected:
    """Keys and values of all layers as a graph names them. ``growing``: rings may have more slots than the manifest
    gives them, for an image of more tokens than a run."""
    return {
        f"{begin}{layer.layer}.{part}": (
            dtype,
            (None, layer.heads, None if growing else layer.slots, width(layer, part)),
        )
        for layer in kv.layers
        for part, dtype in PARTS[kv.dtype].items()
    }


def _shown(tensor: tuple[str, tuple[int | None, ...]] | None) -> str:
    if tensor is None:
        return "not there"
    dtype, shape = tensor
    return f"{dtype}[{', '.join('?' if size is None else str(size) for size in shape)}]"
