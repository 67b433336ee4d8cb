"""Some sequences on the device, and the graph bound to them: prompts, and steps of one token a sequence.

A step reads the token of each row from where the run before has put its `next_token`, so greedy tokens are never sent.
Captured graphs hold addresses: what a step reads and writes stays where it is until `free`.

Where ONNX Runtime's own ops compute all, caches are outputs that are bound to the memory of the inputs, every row is
written to at its position, in use or not, and a run gives the logits of one position at least.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from g4compile.bundle.manifest import TOP_TOKENS
from g4compile.errors import MachineError
from g4compile.runtime.cuda.bindings import BFLOAT16, FLOAT, INT64, bind_input, bind_output
from g4compile.runtime.cuda.choice import Choice
from g4compile.runtime.cuda.graph import Graph
from g4compile.runtime.cuda.memory import Array, Shared, caches
from g4compile.runtime.device_memory import Memory
from g4compile.runtime.feeds import LOGITS, PAST, POSITIONS, PRESENT
from g4compile.runtime.sampling import Sampling, check_greatest

IDS, INDEX, NEXT = "input_ids", "logit_index", "next_token"
UNUSED = -1  # the position of a row that is not in use
_MOST_LOGITS = 256 << 20  # bytes of logits that one run gives


class Rows:
    """Memory for ``count`` sequences. ``choice``: what finds the likeliest tokens; None where the bundle does not have
    it. Raises MachineError, holding nothing, when the GPU does not have the memory."""

    def __init__(self, graph: Graph, shared: Shared, count: int, choice: Choice | None) -> None:
        manifest, self._choice = shared.manifest, choice
        self.count, self._graph, self._shared, self._device = count, graph, shared, shared.device
        self._vocabulary, self._first_id = manifest.vocab_size, graph.take_ids()
        self.writes_all = manifest.cuda is not None and manifest.cuda.kernels is None
        self._steps: dict[int, Any] = {}
        self._prompts: dict[tuple[int, int], Any] = {}
        self._known = np.full(count, -1, np.int64)  # the tokens at `_ids`, where the host knows them
        self._memory = memory = Memory(self._device, f"{count:,} sequences of {manifest.context:,} tokens")
        try:
            self._caches = caches(memory, manifest, count)
            self.kv_bytes = memory.bytes
            self._ids, self._positions, self._index = (memory.allocate(8 * count, zero=True) for _ in range(3))
            self._logits = memory.allocate(4 * count * self._vocabulary)
        except MachineError:
            memory.free()
            raise

    @property
    def buffer_bytes(self) -> int:
        """Held beside keys and values."""
        return self._memory.bytes - self.kv_bytes

    @property
    def most_positions(self) -> int:
        """Positions, of all rows together, whose logits one run gives."""
        return max(1, _MOST_LOGITS // (4 * self._vocabulary))

    def free(self) -> None:
        """Give the memory back; nothing else may follow."""
        self._steps.clear()
        self._prompts.clear()
        self._memory.free()

    def forget(self) -> None:
        """Behind an error: trust nothing of what lies on the device beside keys and values."""
        self._known[:] = -1

    def prompt(self, first: int, ids: Array, start: int, keep: int) -> None:
        """Put ``ids`` [B, S] behind ``start`` tokens of the rows from ``first``. ``keep``: how many of the last
        positions have logits; all, one, or none. `logits` and `tokens` give what it found."""
        batch, new = ids.shape
        keep = max(keep, int(self.writes_all))
        binding = self._prompts.get((first, batch))
        if binding is None:
            binding = self._prompts[first, batch] = self._bound(first, batch)
            bind_output(binding, NEXT, INT64, (batch, 1), self._ids + 8 * first)
        positions = np.tile(np.arange(start, start + new, dtype=np.int64), (batch, 1))
        index = np.tile(np.arange(new - keep, new, dtype=np.int64)[None, :, None], (batch, 1, 1))
        for name, array in ((IDS, ids), (POSITIONS, positions), (INDEX, index)):
            address = self._memory.room(name, array.nbytes)
            if array.size:
                self._device.upload(address, np.ascontiguousarray(array))
            bind_input(binding, name, INT64, array.shape, address)
        if keep > 1:
            self._memory.room(LOGITS, 4 * batch * keep * self._vocabulary)
        bind_output(binding, LOGITS, FLOAT, (batch, keep, self._vocabulary), self._logits_at(first, keep))
        self._known[first : first + batch] = -1
        self._graph.run(binding, f"{batch:,} sequences of {new:,} tokens")

    def step(self, positions: Array, tokens: Array | None = None) -> None:
        """Put ``tokens`` [n] at ``positions`` [n] of the first n rows; `UNUSED` for a row that has none, or with
        `writes_all` a position of which nothing is known yet. Without ``tokens`` it is those that the run before has
        found: only where the step is `captured`, because a capture writes over them."""
        count, shared = len(positions), self._shared

        def prepare(idle: bool) -> None:
            staged = next(shared.positions)[:count]
            staged[:] = UNUSED if idle and not self.writes_all else positions  # what is written is written over
            self._device.upload(self._positions, staged)
            if not idle and tokens is not None and not np.array_equal(self._known[:count], tokens):
                shared.tokens[:count] = tokens
                self._device.upload(self._ids, shared.tokens[:count])
            self._known[:count] = -1  # the run writes over them

        if count not in self._steps:
            self._steps[count] = self._step_binding(count)
        self._graph.replay(self._steps[count], self._first_id + count, prepare, f"{count:,} sequences of 1 token")

    def captured(self, count: int) -> bool:
        """Whether this thread has run a step of ``count`` rows before."""
        return self._graph.captured(self._first_id + count)

    def tokens(self, first: int, count: int) -> Array:
        """int64 [count]: the likeliest tokens of rows from ``first``, which the last run found."""
        self.fetch(first, count)
        self._known[first : first + count] = found = self.fetched(count)
        return found

    def fetch(self, first: int, count: int) -> None:
        """Ask for what `tokens` gives; `fetched` waits for it, and not for what was put on the stream behind."""
        self._device.download(self._shared.tokens[:count], self._ids + 8 * first)
        self._device.mark()

    def fetched(self, count: int) -> Array:
        self._device.wait()
        return self._shared.tokens[:count].copy()

    def logits(self, first: int, batch: int, keep: int = 1) -> Array:
        """float32 [batch, keep, V] of rows from ``first``, which the last run gave."""
        found = np.empty((batch, keep, self._vocabulary), np.float32)
        at, staged = self._logits_at(first, keep), self._shared.logits
        for place, row in enumerate(found.reshape(-1, self._vocabulary)):
            self._device.download(staged, at + 4 * place * self._vocabulary)
            self._device.synchronize()
            row[:] = staged
        return found

    def choose(self, row: int, sampling: Sampling, first: bool = False) -> int:
        """The token of ``row`` behind the last run. ``first``: behind a prompt, where its logit is looked at: what is
        not finite in the weights shows there. Raises BundleError for one that is not finite."""
        if self.finds_enough(sampling):
            return sampling.choose_among(*self.likeliest(row, 1)[0])
        if sampling.temperature > 0:
            return sampling.choose(self.logits(row, 1)[0, 0])
        token = int(self.tokens(row, 1)[0])
        if first:
            found = np.empty(1, np.float32)
            self._device.download(found, self._logits_at(row, 1) + 4 * token)
            self._device.synchronize()
            check_greatest(found[0])
        return token

    def finds_enough(self, sampling: Sampling) -> bool:
        """Whether a draw by ``sampling`` needs only what `likeliest` gives."""
        return self._choice is not None and sampling.temperature > 0 and sampling.enough(TOP_TOKENS)

    def likeliest(self, first: int, count: int) -> list[tuple[Array, Array]]:
        """Of each of ``count`` rows from ``first``, behind the last run: the likeliest tokens' logits float32 [n], and
        the tokens int64 [n]. Only where a sampling `finds_enough`."""
        assert self._choice is not None
        return list(zip(*self._choice.likeliest(self._logits_at(first, 1), count), strict=True))

    def known(self, count: int) -> Array:
        """int64 [count]: tokens of the first rows that need not be sent, where there are such."""
        return np.maximum(self._known[:count], 0)

    def _logits_at(self, first: int, keep: int) -> int:
        return self._memory.address(LOGITS) if keep > 1 else self._logits + 4 * first * self._vocabulary

    def _step_binding(self, count: int) -> Any:
        binding = self._bound(0, count)
        bind_input(binding, IDS, INT64, (count, 1), self._ids)
        bind_input(binding, POSITIONS, INT64, (count, 1), self._positions)
        bind_input(binding, INDEX, INT64, (count, 1, 1), self._index)
        bind_output(binding, NEXT, INT64, (count, 1), self._ids)
        bind_output(binding, LOGITS, FLOAT, (count, 1, self._vocabulary), self._logits)
        return binding

    def _bound(self, first: int, count: int) -> Any:
        """A binding of what does not change: the caches of ``count`` rows from ``first``."""
        binding = self._graph.binding()
        for cache in self._caches:
            place = (count, *cache.shape), cache.address + first * cache.row
            bind_input(binding, cache.name, BFLOAT16, *place)
            if self.writes_all:
                bind_output(binding, PRESENT + cache.name.removeprefix(PAST), BFLOAT16, *place)
        return binding
