"""What a session holds on the device: caches of some sequences, and what all of them use in turn."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from g4compile.bundle.kv import PARTS, PAST
from g4compile.bundle.manifest import Manifest
from g4compile.runtime.cuda.graph import MOST_ROWS
from g4compile.runtime.device import Device
from g4compile.runtime.device_memory import Memory

Array = np.ndarray[Any, Any]
_SLOTS = 64


class Shared:
    """What all sequences of a session use in turn: host memory that the device reads and writes."""

    def __init__(self, device: Device, manifest: Manifest) -> None:
        self.device, self.manifest = device, manifest
        self.tokens = device.staging(8 * MOST_ROWS).view(np.int64)
        self.positions = self._positions(device.staging(8 * MOST_ROWS * _SLOTS).view(np.int64))
        self.logits = device.staging(4 * manifest.vocab_size).view(np.float32)

    def _positions(self, staged: Array) -> Iterator[Array]:
        """int64 [MOST_ROWS], again and again: the device reads one when its run begins, and runs are put on the stream
        ahead."""
        while True:
            self.device.synchronize()
            yield from staged.reshape(_SLOTS, MOST_ROWS)

    def settle(self) -> None:
        """Behind an error: wait for what is still running."""
        self.device.synchronize()


@dataclass(frozen=True)
class Cache:
    """Keys, or values, of one layer: bfloat16 [rows, *shape] at ``address``."""

    name: str
    shape: tuple[int, ...]
    address: int

    @property
    def row(self) -> int:
        """Bytes of a sequence."""
        return _row_bytes(self.shape)


def caches(memory: Memory, manifest: Manifest, count: int) -> list[Cache]:
    """Empty caches of ``count`` sequences. Raises MachineError when the GPU has no memory for them."""
    found = []
    for layer in manifest.kv.layers:
        shape = layer.heads, layer.slots or manifest.context, layer.head_dim
        for part in PARTS[manifest.kv.dtype]:
            address = memory.allocate(count * _row_bytes(shape), zero=True)
            found.append(Cache(f"{PAST}{layer.layer}.{part}", shape, address))
    return found


def _row_bytes(shape: tuple[int, ...]) -> int:
    return 2 * math.prod(shape)
