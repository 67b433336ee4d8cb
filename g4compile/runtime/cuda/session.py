"""A session over an `onnx-cuda` bundle: one graph in ONNX Runtime's CUDA provider, with caches on the device.

A step of one token a sequence is one captured graph, replayed; greedy tokens stay on the device, and 8 bytes of each
come back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np

from g4compile.bundle.folder import Bundle
from g4compile.bundle.manifest import CHOICE, DATA, DECODER
from g4compile.errors import G4Error, InputError
from g4compile.runtime import arguments, feeds
from g4compile.runtime.conversation import NO_MEDIA, Conversation, Logits
from g4compile.runtime.cuda.batch import Batch
from g4compile.runtime.cuda.choice import Choice
from g4compile.runtime.cuda.graph import MOST_ROWS, Graph
from g4compile.runtime.cuda.memory import Shared
from g4compile.runtime.cuda.opening import open_device, open_graph
from g4compile.runtime.cuda.rows import Rows
from g4compile.runtime.device import Device, DeviceMemory
from g4compile.runtime.in_place import InPlace
from g4compile.runtime.media.placeholders import Media
from g4compile.runtime.sampling import Sampling

Open = Callable[[Bundle, Device, str], Any]


class CudaSession(Conversation):
    """One conversation with an `onnx-cuda` bundle.

    ``device`` and ``open_session``: where it runs, and what opens the graph of a part in ONNX Runtime there; the first
    GPU and `open_graph` when not given. Raises MachineError when there is no GPU, no CUDA provider, or for a bundle of
    kernels no library libg4cuda, or none for this GPU; BundleError for a graph that ONNX Runtime refuses.
    """

    def __init__(self, bundle: Bundle, device: Device | None = None, open_session: Open = open_graph) -> None:
        spec = bundle.manifest.cuda
        if spec is None:
            raise InputError(f"{bundle.folder} is no bundle of the target onnx-cuda")
        super().__init__(bundle)
        self._chunk, kv = spec.chunk, bundle.manifest.kv
        # One less than rings hold: a step may have run ahead.
        spare = min((one.slots - one.window for one in kv.layers if one.slots and one.window), default=1 << 31)
        self._state = InPlace(spare, most=kv.rewind)
        self._rows: Rows | None = None
        self._batches: list[Batch] = []
        self._ahead: tuple[int, list[list[int]]] | None = None  # a step on the stream: behind what length, of what
        self._device = open_device() if device is None else device
        try:
            self._free_before = self._device.free_memory()
            self._graph = self._opened(open_session, DECODER, captures=not spec.host_sizes)
            self._shared, self._choice = Shared(self._device, bundle.manifest), None
            if CHOICE in bundle.manifest.parts:
                opens = partial(self._opened, open_session, CHOICE, captures=False)
                self._choice = Choice(opens, self._device, bundle.manifest)
        except BaseException:
            self._device.close()
            raise

    def _opened(self, open_session: Open, part: str, captures: bool) -> Graph:
        file = self.bundle.graph_path(self.bundle.manifest.graph(part))
        return Graph(open_session(self.bundle, self._device, part), self._device, file, captures=captures)

    @property
    def length(self) -> int:
        return self._state.length

    @property
    def batch(self) -> int | None:
        return self._state.batch or None

    @property
    def kv_bytes(self) -> int:
        return self._rows.kv_bytes if self._rows is not None else 0

    def new_batch(self, rows: int) -> Batch:
        """Memory for ``rows`` sequences that are decoded together, 1 to 64, beside that of the conversation. They share
        weights, and take turns with it. Raises MachineError when the GPU does not have the memory."""
        with self._alone():
            rows = arguments.integer("rows", rows, 1, MOST_ROWS)
            self._batches = [one for one in self._batches if not one.closed]
            batch = Batch(Rows(self._graph, self._shared, rows, self._choice), self._shared, self._chunk, self._alone)
            self._batches.append(batch)
            return batch

    @property
    def device_memory(self) -> DeviceMemory:
        with self._alone():
            free = self._device.free_memory()
            held = [*(one for one in self._batches if not one.closed), *([self._rows] if self._rows else [])]
            weights = self.bundle.manifest.files[DATA].bytes
            kv, buffers = (sum(getattr(one, name) for one in held) for name in ("kv_bytes", "buffer_bytes"))
            buffers += self._choice.memory.bytes if self._choice is not None else 0
            return DeviceMemory(weights, kv, buffers, max(0, self._free_before - free - weights - kv - buffers), free)

    def _close(self) -> None:
        for batch in self._batches:
            batch.drop()
        if self._rows is not None:
            self._rows.free()
        self._rows = None
        del self._graph, self._choice  # before the stream that ONNX Runtime's sessions use
        self._device.close()

    def _reset(self) -> None:
        self._state.reset()
        self._ahead = None

    def _rewind(self, tokens: int) -> None:
        self._state.rewind(tokens)
        self._ahead = None

    @contextmanager
    def _whole(self) -> Iterator[None]:
        try:
            with self._state.whole():
                yield
        except BaseException:  # an interrupt too
            with suppress(G4Error):  # the first error is the one to tell
                self._shared.settle()
            if self._rows is not None:
                self._rows.forget()
            self._ahead = None
            raise

    def _forward(self, ids: np.ndarray[Any, Any], all_positions: bool, media: Media = NO_MEDIA) -> Logits:
        rows, pieces = self._rows_of(ids.shape[0]), []
        most = min(self._chunk, max(1, rows.most_positions // len(ids))) if all_positions else self._chunk
        for keep in self._run(rows, ids, most, all_positions):
            if all_positions:
                pieces.append(rows.logits(0, len(ids), keep))
        return feeds.joined(pieces or [rows.logits(0, len(ids))], all_positions)

    def _next(self, ids: np.ndarray[Any, Any], sampling: Sampling, media: Media = NO_MEDIA, more: bool = False) -> int:
        """The token that the graph found, where it decides; else from all logits.

        With ``more``, a step for that token is put on the stream before the host has seen it, so that the device never
        waits for the host. If no `_next` of the token follows, what that step has written stands behind the state.
        """
        rows, greedy = self._rows_of(1), sampling.temperature == 0
        if greedy and self._ahead == (self._state.length, ids.tolist()):
            self._state.writes(self._state.length + 1)
            self._state.length += 1
        else:
            for _ in self._run(rows, ids, self._chunk, False):
                pass
        self._ahead = None
        prompt, position = ids.shape[1] > 1, np.array([self._state.length])
        if not greedy or not more or self._state.length >= self.bundle.manifest.context:
            return rows.choose(0, sampling, first=prompt)
        if prompt or not rows.captured(1):
            token = rows.choose(0, sampling, first=prompt)
            rows.step(position, np.array([token]))
        else:
            rows.fetch(0, 1)
            rows.step(position)
            token = int(rows.fetched(1)[0])
        self._ahead = self._state.length, [[token]]
        return token

    def _run(self, rows: Rows, ids: np.ndarray[Any, Any], most: int, all_positions: bool) -> Iterator[int]:
        """Run ``ids`` [B, S] in pieces of ``most`` tokens at most; behind each, how many positions have logits."""
        self._ahead, (self._state.batch, new) = None, ids.shape
        for start in range(0, new, most):
            piece = ids[:, start : start + most]
            keep = piece.shape[1] if all_positions else int(start + most >= new)
            self._state.writes(self._state.length + piece.shape[1])
            if piece.shape[1] == 1:
                rows.step(np.full(len(ids), self._state.length), piece[:, 0])
            else:
                rows.prompt(0, piece, self._state.length, keep)
            self._state.length += piece.shape[1]
            yield keep

    def _rows_of(self, batch: int) -> Rows:
        """Memory of ``batch`` sequences at least. What the state has is in what it finds there."""
        if batch > MOST_ROWS:
            raise InputError(f"a session on CUDA takes {MOST_ROWS} sequences at most, got {batch}")
        if self._rows is None or self._rows.count < batch:
            if self._rows is not None:
                self._rows.free()
                self._rows = None
            self._rows = Rows(self._graph, self._shared, batch, self._choice)
        return self._rows
