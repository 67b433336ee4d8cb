"""A session over an ONNX bundle: token ids in, logits or tokens out, keys and values kept between calls."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from g4compile.bundle.folder import Bundle
from g4compile.bundle.manifest import DATA, DECODER, EMBED
from g4compile.errors import InputError
from g4compile.runtime import feeds
from g4compile.runtime.conversation import Conversation, Ids, Logits
from g4compile.runtime.graphs import open_graph, release_pages
from g4compile.runtime.kv_cache import KVCache

# Tokens after which the pages of tables are given back: a lookup maps 64 kB around each of a token's rows.
_LOOKUPS = 256
CHUNK = 512  # new tokens per run: bounds the memory of attention scores in a long prompt


class Session(Conversation):
    """One conversation with an ONNX bundle."""

    def __init__(
        self,
        bundle: Bundle,
        threads: int = 0,
        chunk: int = CHUNK,
        cache: str | Path | None = None,
        profile: str | Path | None = None,
    ) -> None:
        """``threads``: 0 lets ONNX Runtime decide. ``chunk``: most new tokens in one run of the graph.

        ``cache``: a folder for weights rearranged by ONNX Runtime, which later loads map instead of making them.
        ``profile``: begin of the name of ONNX Runtime's profile of the decoder; `end_profiling` completes it.
        """
        if chunk < 1:
            raise InputError(f"a chunk of {chunk} tokens is not possible", fix="chunk >= 1")
        self.bundle, self.chunk = bundle, chunk
        self._embed = open_graph(bundle, EMBED, 1)
        paths = [None if path is None else Path(path) for path in (cache, profile)]
        self._decoder = open_graph(bundle, DECODER, threads, *paths)
        # With a cache only lookups read the bundle's own file, and its pages can be given back; without one the
        # decoder may read it too, at every step.
        self._looked_up: float = 0 if cache is not None else -math.inf
        self._embedded = [output.name for output in self._embed.get_outputs()]
        self._cache: KVCache | None = None

    @property
    def length(self) -> int:
        return self._cache.length if self._cache else 0

    @property
    def batch(self) -> int | None:
        return self._cache.batch if self._cache else None

    @property
    def kv_bytes(self) -> int:
        return self._cache.bytes if self._cache else 0

    def end_profiling(self) -> str:
        """Write the profile that was asked for; the path of its file."""
        return str(self._decoder.end_profiling())

    def reset(self) -> None:
        self._cache = None

    def rewind(self, tokens: int) -> None:
        if self._cache is None:
            if tokens:
                raise InputError(f"cannot rewind {tokens} tokens of 0")
            return
        self._cache.rewind(tokens)

    def forward(self, input_ids: Ids, *, all_positions: bool = False) -> Logits:
        ids = self._checked(input_ids)
        if self._cache is None:
            self._cache = KVCache(self.bundle.manifest.kv, ids.shape[0], self.bundle.manifest.context)
        pieces = [
            self._run(self._cache, np.ascontiguousarray(ids[:, start : start + self.chunk]), all_positions)
            for start in range(0, ids.shape[1], self.chunk)
        ]
        return feeds.joined(pieces, all_positions)

    def _run(self, cache: KVCache, ids: np.ndarray[Any, Any], all_positions: bool) -> Logits:
        batch, new = ids.shape
        cache.reserve(new)
        embedded = self._embed.run_with_ort_values(None, {"input_ids": ort.OrtValue.ortvalue_from_numpy(ids)})
        self._looked_up += batch * new
        if self._looked_up > _LOOKUPS:
            release_pages(self.bundle.folder / DATA)
            self._looked_up = 0
        binding = self._decoder.io_binding()
        for name, value in zip(self._embedded, embedded, strict=True):
            binding.bind_ortvalue_input(name, value)
        binding.bind_cpu_input(feeds.POSITIONS, feeds.positions(cache.length, batch, new))
        binding.bind_cpu_input(feeds.KEEP, feeds.keep(new if all_positions else 1))
        binding.bind_output(feeds.LOGITS)
        cache.bind(binding)
        self._decoder.run_with_iobinding(binding)
        # The binding lists outputs in the order they were bound, which is not the graph's.
        outputs = dict(zip([feeds.LOGITS, *cache.outputs], binding.get_outputs(), strict=True))
        cache.advance(new, outputs)
        logits: Logits = outputs[feeds.LOGITS].numpy()
        return logits


def load(
    path: str | Path,
    *,
    threads: int = 0,
    chunk: int = CHUNK,
    cache: str | Path | None = None,
    profile: str | Path | None = None,
    checkpoint: str | Path | None = None,
) -> Conversation:
    """Open the bundle at ``path``, as `Session`; an engine bundle with the ``checkpoint`` folder that holds its
    weights, as `EngineSession`. Raises BundleError when it is not whole or not for this version, MachineError
    without a GPU."""
    bundle = Bundle.open(path)
    if bundle.manifest.engine is None:
        return Session(bundle, threads, chunk, cache, profile)
    if checkpoint is None:
        raise InputError(
            "an engine bundle holds no weights: it reads them from the checkpoint it was compiled from",
            fix="--checkpoint FOLDER, or load(..., checkpoint=FOLDER)",
        )
    from g4compile.runtime.engine import EngineSession

    return EngineSession(bundle, Path(checkpoint))
