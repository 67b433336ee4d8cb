"""Keys and values between steps, as the graph lays them out.

A full layer has one buffer that the graph writes in place; past and present are the same memory. It grows in
blocks, so that attention never runs over much more than what is written. A sliding layer has the recent keys
the graph gave back last time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort

from g4compile.bundle.manifest import KVLayer, KVSpec
from g4compile.errors import InputError
from g4compile.runtime.feeds import PAST, PRESENT

BLOCK = 512  # slots by which full buffers grow: copying stays below 1/512 of what attention reads anyway
_PARTS = {"float32": ("key", "value"), "int8": ("key", "key_scale", "value", "value_scale")}


class KVCache:
    """The state of one conversation (or of a batch of equally long ones). ``length``: tokens written."""

    def __init__(self, spec: KVSpec, batch: int, context: int) -> None:
        self.spec, self.batch, self.context = spec, batch, context
        self.length, self.capacity = 0, 0
        self._parts = _PARTS[spec.dtype]
        self._values: dict[str, ort.OrtValue] = {}
        for layer in spec.layers:
            for part in self._parts:
                self._set(layer, part, self._empty(layer, part, 0))

    def reserve(self, tokens: int) -> None:
        """Make room for ``tokens`` more in the full layers' buffers."""
        needed = self.length + tokens
        if needed <= self.capacity:
            return
        self.capacity = min(-(-needed // BLOCK) * BLOCK, self.context)
        for layer in self.spec.layers:
            if layer.keep is None:
                for part in self._parts:
                    grown = self._empty(layer, part, self.capacity)
                    grown[:, :, : self.length] = self._array(layer, part)[:, :, : self.length]
                    self._set(layer, part, grown)

    def bind(self, binding: Any) -> None:
        """Bind all past inputs and present outputs of one run."""
        for layer in self.spec.layers:
            for part in self._parts:
                value = self._values[f"{layer.layer}.{part}"]
                binding.bind_ortvalue_input(f"{PAST}{layer.layer}.{part}", value)
                if layer.keep is None:
                    binding.bind_ortvalue_output(f"{PRESENT}{layer.layer}.{part}", value)
                else:
                    binding.bind_output(f"{PRESENT}{layer.layer}.{part}")

    def advance(self, tokens: int, outputs: dict[str, ort.OrtValue]) -> None:
        """Take over what a run of ``tokens`` new tokens gave back, by output name."""
        for layer in self.spec.layers:
            if layer.keep is not None:
                for part in self._parts:
                    self._values[f"{layer.layer}.{part}"] = outputs[f"{PRESENT}{layer.layer}.{part}"]
        self.length += tokens

    def rewind(self, tokens: int) -> None:
        """Forget the last ``tokens``. Raises InputError when a sliding layer no longer holds what would be seen
        then."""
        if tokens < 0 or tokens > self.length:
            raise InputError(f"cannot rewind {tokens} tokens of {self.length}")
        left = self.length - tokens
        for layer in self.spec.layers:
            if layer.keep is not None and layer.window is not None:
                held = self._array(layer, "key").shape[2]
                if held - tokens < min(left, layer.window - 1):
                    raise InputError(
                        f"cannot rewind {tokens} tokens: "
                        f"the windowed caches hold {self.spec.rewind} more than their window",
                        fix=f"rewind at most {self.spec.rewind}, or reset and run the prompt again",
                    )
        for layer in self.spec.layers:
            if layer.keep is not None and tokens:
                for part in self._parts:
                    array = self._array(layer, part)
                    self._set(layer, part, np.ascontiguousarray(array[:, :, : array.shape[2] - tokens]))
        self.length = left

    @property
    def outputs(self) -> list[str]:
        """Names of the present outputs, in the order `bind` binds them."""
        return [f"{PRESENT}{layer.layer}.{part}" for layer in self.spec.layers for part in self._parts]

    @property
    def bytes(self) -> int:
        return sum(int(value.tensor_size_in_bytes()) for value in self._values.values())

    def _array(self, layer: KVLayer, part: str) -> np.ndarray[Any, Any]:
        array: np.ndarray[Any, Any] = self._values[f"{layer.layer}.{part}"].numpy()
        return array

    def _set(self, layer: KVLayer, part: str, array: np.ndarray[Any, Any]) -> None:
        self._values[f"{layer.layer}.{part}"] = ort.OrtValue.ortvalue_from_numpy(array)

    def _empty(self, layer: KVLayer, part: str, tokens: int) -> np.ndarray[Any, Any]:
        return _zeros(self.spec, layer, part, self.batch, tokens)


def empty_past(spec: KVSpec, batch: int, slots: int) -> dict[str, np.ndarray[Any, Any]]:
    """Inputs of a first run, by name; full layers have ``slots``."""
    return {
        f"{PAST}{layer.layer}.{part}": _zeros(spec, layer, part, batch, slots if layer.keep is None else 0)
        for layer in spec.layers
        for part in _PARTS[spec.dtype]
    }


def _zeros(spec: KVSpec, layer: KVLayer, part: str, batch: int, tokens: int) -> np.ndarray[Any, Any]:
    scale = part.endswith("_scale")
    dtype = np.int8 if spec.dtype == "int8" and not scale else np.float32
    return np.zeros((batch, layer.heads, tokens, 1 if scale else layer.head_dim), dtype)
