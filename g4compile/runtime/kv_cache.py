"""Keys and values between steps, as the graph lays them out.

A full layer has one buffer that the graph writes in place; past and present are the same memory. It grows in
blocks, so that attention never runs over much more than what is written. A sliding layer has the recent keys
the graph gave back last time, or a ring of fixed size that the graph writes in place too. No slot is ever changed that
holds a token which may still be seen: an error leaves a copy as it was.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

from g4compile.bundle.kv import PARTS
from g4compile.bundle.manifest import KVLayer, KVSpec
from g4compile.errors import InputError
from g4compile.runtime.failures import no_memory
from g4compile.runtime.feeds import PAST, PRESENT
from g4compile.runtime.kv_tensors import array_of, dtype_of, tensor_of, zeros

BLOCK = 256  # slots by which full buffers grow: copying stays below 1/256 of what attention reads anyway


class KVCache:
    """The state of one conversation (or of a batch of equally long ones). ``length``: tokens written."""

    def __init__(self, spec: KVSpec, batch: int, context: int) -> None:
        self.spec, self.batch, self.context = spec, batch, context
        self.length, self.capacity = 0, 0
        self._parts = PARTS[spec.dtype]
        self._values: dict[str, Any] = {}  # OrtValues
        self._held = dict.fromkeys((layer.layer for layer in spec.layers if layer.keep is not None), 0)
        for layer in spec.layers:
            for part in self._parts:
                self._set(layer, part, self._empty(layer, part, layer.slots or 0))

    def copy(self) -> KVCache:
        """Another cache of the same state. The two share memory: what either writes stands behind its `length`, or in
        arrays of its own."""
        other = copy.copy(self)
        other._values, other._held = dict(self._values), dict(self._held)
        return other

    @property
    def most_new(self) -> int | None:
        """New tokens that rings have room for in one run; None where there are no rings."""
        return min(map(_spare, self._rings), default=None)

    def check_room(self, tokens: int) -> None:
        """Raise MachineError when the system does not give the memory for ``tokens`` more, before any is used."""
        capacity = self._capacity_for(tokens)
        if capacity > self.capacity:
            with no_memory(self._asked(capacity), self._bytes_at(capacity)):
                np.empty(self._bytes_at(capacity), np.uint8)

    def detach(self, tokens: int) -> None:
        """Give this cache rings of its own where a call of ``tokens`` would write over what a copy of it still sees.
        Raises MachineError without the memory."""
        for layer in self._rings:
            if tokens > _spare(layer):
                for part in self._parts:
                    array = self._array(layer, part)
                    with no_memory("the copy of a ring of keys and values", array.nbytes):
                        self._set(layer, part, array.copy())

    def reserve(self, tokens: int) -> None:
        """Make room for the ``tokens`` of a run in rings, beside what they keep, and in the buffers of full layers: of
        either in all, or, with a MachineError, in none."""
        self._grow_rings(tokens)
        capacity = self._capacity_for(tokens)
        if capacity <= self.capacity:
            return
        values = dict(self._values)
        with no_memory(self._asked(capacity), self._bytes_at(capacity)):
            for layer in self.spec.layers:
                if layer.keep is None:
                    for part in self._parts:
                        grown = self._empty(layer, part, capacity)
                        grown[:, :, : self.length] = self._array(layer, part)[:, :, : self.length]
                        values[f"{layer.layer}.{part}"] = tensor_of(self._parts[part], grown)
        self._values, self.capacity = values, capacity

    def _grow_rings(self, tokens: int) -> None:
        """Move what rings hold into larger ones where ``tokens`` do not fit beside what they keep. An image whose
        tokens see each other is one run, however many it has."""
        if tokens <= (self.most_new or tokens):
            return
        values = dict(self._values)
        for layer in self._rings:
            slots = (layer.keep or 0) + tokens
            for part in self._parts:
                old = self._array(layer, part)
                held = old.shape[2]
                if held >= slots:
                    continue
                with no_memory(f"a ring of keys and values of {slots:,} tokens", old.nbytes // held * slots):
                    grown = self._empty(layer, part, slots)
                at = np.arange(max(0, self.length - held), self.length)
                grown[:, :, at % slots] = old[:, :, at % held]
                values[f"{layer.layer}.{part}"] = tensor_of(self._parts[part], grown)
        self._values = values

    def bind(self, binding: Any) -> None:
        """Bind all past inputs and present outputs of one run."""
        for layer in self.spec.layers:
            for part in self._parts:
                value = self._values[f"{layer.layer}.{part}"]
                binding.bind_ortvalue_input(f"{PAST}{layer.layer}.{part}", value)
                if _in_place(layer):
                    binding.bind_ortvalue_output(f"{PRESENT}{layer.layer}.{part}", value)
                else:
                    binding.bind_output(f"{PRESENT}{layer.layer}.{part}")

    def advance(self, tokens: int, outputs: dict[str, Any]) -> None:
        """Take over the OrtValues that a run of ``tokens`` new tokens gave back, by output name."""
        for layer in self.spec.layers:
            if layer.keep is not None:
                self._held[layer.layer] = min(self._held[layer.layer] + tokens, layer.keep)
            if not _in_place(layer):
                for part in self._parts:
                    self._values[f"{layer.layer}.{part}"] = outputs[f"{PRESENT}{layer.layer}.{part}"]
        self.length += tokens

    def rewind(self, tokens: int) -> None:
        """Forget the last ``tokens``, at most `length`. Raises InputError when a sliding layer no longer holds what
        would be seen then."""
        left = self.length - tokens
        for layer in self.spec.layers:
            seen = 0 if layer.window is None else min(left, layer.window - 1)
            if self._held.get(layer.layer, self.length) - tokens < seen:
                raise InputError(
                    f"cannot rewind {tokens} tokens: "
                    f"the windowed caches hold {self.spec.rewind} more than their window",
                    fix=f"rewind at most {self.spec.rewind}, or reset and run the prompt again",
                )
        for layer in self.spec.layers:
            if layer.keep is None or not tokens:
                continue
            self._held[layer.layer] -= tokens
            if not _in_place(layer):
                for part in self._parts:
                    array = self._array(layer, part)
                    self._set(layer, part, np.ascontiguousarray(array[:, :, : array.shape[2] - tokens]))
        self.length = left

    @property
    def _rings(self) -> list[KVLayer]:
        return [layer for layer in self.spec.layers if layer.slots is not None]

    @property
    def outputs(self) -> list[str]:
        """Names of the present outputs, in the order `bind` binds them."""
        return [f"{PRESENT}{layer.layer}.{part}" for layer in self.spec.layers for part in self._parts]

    @property
    def bytes(self) -> int:
        return sum(int(value.tensor_size_in_bytes()) for value in self._values.values())

    def _capacity_for(self, tokens: int) -> int:
        """Slots that full layers have once ``tokens`` more are in; never less than now."""
        needed = self.length + tokens
        return self.capacity if needed <= self.capacity else min(-(-needed // BLOCK) * BLOCK, self.context)

    def _bytes_at(self, capacity: int) -> int:
        """Bytes of all full layers' buffers of ``capacity`` slots."""
        shapes = (
            (*_shape(layer, part, self.batch, capacity), dtype_of(self._parts[part]).itemsize)
            for layer in self.spec.layers
            if layer.keep is None
            for part in self._parts
        )
        return sum(map(math.prod, shapes))

    def _asked(self, capacity: int) -> str:
        return f"keys and values of {self.batch:,} sequences of {capacity:,} tokens"

    def _array(self, layer: KVLayer, part: str) -> np.ndarray[Any, Any]:
        return array_of(self._values[f"{layer.layer}.{part}"])

    def _set(self, layer: KVLayer, part: str, array: np.ndarray[Any, Any]) -> None:
        self._values[f"{layer.layer}.{part}"] = tensor_of(self._parts[part], array)

    def _empty(self, layer: KVLayer, part: str, tokens: int) -> np.ndarray[Any, Any]:
        return zeros(self._parts[part], _shape(layer, part, self.batch, tokens))


def empty_past(spec: KVSpec, batch: int, slots: int) -> dict[str, Any]:
    """Inputs of a first run, OrtValues by name; full layers have ``slots``."""
    held = {layer: slots if layer.keep is None else layer.slots or 0 for layer in spec.layers}
    return {
        f"{PAST}{layer.layer}.{part}": tensor_of(kind, zeros(kind, _shape(layer, part, batch, held[layer])))
        for layer in spec.layers
        for part, kind in PARTS[spec.dtype].items()
    }


def _in_place(layer: KVLayer) -> bool:
    """Whether the graph writes into the buffers of ``layer``."""
    return layer.keep is None or layer.slots is not None


def _spare(ring: KVLayer) -> int:
    """Slots of a ring beyond the tokens that it keeps."""
    return (ring.slots or 0) - (ring.keep or 0)


def _shape(layer: KVLayer, part: str, batch: int, tokens: int) -> tuple[int, ...]:
    return batch, layer.heads, tokens, 1 if part.endswith("_scale") else layer.head_dim
