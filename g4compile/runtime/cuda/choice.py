"""The likeliest tokens of rows, found on the device over the logits that a run has left there: the graph `choice`.

A choice among them brings 768 bytes of a row to the host, where all logits are a megabyte. Source: `docs/bundle.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from g4compile.bundle.manifest import TOP_TOKENS, Manifest
from g4compile.runtime.cuda.bindings import FLOAT, INT64, bind_input, bind_output
from g4compile.runtime.cuda.graph import MOST_ROWS, Graph
from g4compile.runtime.cuda.memory import Array
from g4compile.runtime.device import Device
from g4compile.runtime.device_memory import Memory
from g4compile.runtime.feeds import LOGITS


class Choice:
    """``opens`` the graph of the part `choice`, when it is first asked: most sessions never draw."""

    def __init__(self, opens: Callable[[], Graph], device: Device, manifest: Manifest) -> None:
        self._opens, self._device, self._vocabulary = opens, device, manifest.vocab_size
        self.memory = Memory(device, "the likeliest tokens")
        self._graph: Graph | None = None

    def _opened(self) -> Graph:
        """The graph, with memory for what it gives. Raises MachineError when the GPU does not have that."""
        if self._graph is None:
            rows, graph = MOST_ROWS * TOP_TOKENS, self._opens()
            self._at = self.memory.allocate(4 * rows), self.memory.allocate(8 * rows)
            self._logits: Array = self._device.staging(4 * rows).view(np.float32)
            self._tokens: Array = self._device.staging(8 * rows).view(np.int64)
            self._binding: Any = graph.binding()
            self._graph = graph
        return self._graph

    def likeliest(self, address: int, count: int) -> tuple[Array, Array]:
        """Of logits float32 [count, V] at ``address``: float32 [count, n] of the n likeliest tokens, the likeliest
        first, and the tokens int64 [count, n]. n is 64, or V where that is less."""
        graph = self._opened()
        bind_input(self._binding, LOGITS, FLOAT, (count, 1, self._vocabulary), address)
        for name, dtype, at in zip(("top_logits", "top_tokens"), (FLOAT, INT64), self._at, strict=True):
            bind_output(self._binding, name, dtype, (count, TOP_TOKENS), at)
        graph.run(self._binding, f"the likeliest tokens of {count:,} sequences")
        size, known = count * TOP_TOKENS, min(TOP_TOKENS, self._vocabulary)
        for staged, at in zip((self._logits, self._tokens), self._at, strict=True):
            self._device.download(staged[:size], at)
        self._device.synchronize()
        logits, tokens = (one[:size].reshape(count, -1)[:, :known] for one in (self._logits, self._tokens))
        return logits.copy(), tokens.copy()
