"""A session over an ONNX bundle: token ids in, logits or tokens out, keys and values kept between calls."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from g4compile.bundle import Bundle
from g4compile.errors import InputError
from g4compile.runtime.graphs import DATA, open_graph, release_pages
from g4compile.runtime.kv_cache import KVCache
from g4compile.runtime.sampling import Sampling

Ids = Sequence[int] | Sequence[Sequence[int]] | np.ndarray[Any, Any]
Logits = np.ndarray[Any, Any]
# Tokens after which the pages of tables are given back: a lookup maps 64 kB around each of a token's rows.
_LOOKUPS = 256
CHUNK = 512  # new tokens a run: bounds the memory of attention scores in a long prompt


class Session:
    """One conversation with a compiled model. Not safe to call from two threads at once."""

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
        self._embed = open_graph(bundle, "embed", 1)
        paths = [None if path is None else Path(path) for path in (cache, profile)]
        self._decoder = open_graph(bundle, "decoder", threads, *paths)
        # With a cache only lookups read the bundle's own file, and its pages can be given back; without one the
        # decoder may read it too, at every step.
        self._looked_up: float = 0 if cache is not None else -math.inf
        self._embedded = [output.name for output in self._embed.get_outputs()]
        self._cache: KVCache | None = None

    @property
    def length(self) -> int:
        """Tokens in the KV state."""
        return self._cache.length if self._cache else 0

    @property
    def kv_bytes(self) -> int:
        """Bytes the KV state holds now."""
        return self._cache.bytes if self._cache else 0

    def end_profiling(self) -> str:
        """Write the profile that was asked for; the path of its file."""
        return str(self._decoder.end_profiling())

    def reset(self) -> None:
        """Forget everything; the next call may have another batch size."""
        self._cache = None

    def rewind(self, tokens: int) -> None:
        """Forget the last ``tokens``. Raises InputError past what the windowed caches still hold."""
        if self._cache is None:
            if tokens:
                raise InputError(f"cannot rewind {tokens} tokens of 0")
            return
        self._cache.rewind(tokens)

    def forward(self, input_ids: Ids, *, all_positions: bool = False) -> Logits:
        """Append ``input_ids`` (int64 [B, S], or a list for B = 1) to the state.

        Returns float32 logits [B, V] of the last position, or [B, S, V] with ``all_positions``. Raises InputError
        for an empty prompt, ids out of range, another batch size than before, and a context that is too long.
        """
        ids = self._checked(input_ids)
        if self._cache is None:
            self._cache = KVCache(self.bundle.manifest.kv, ids.shape[0], self.bundle.manifest.context)
        pieces = [
            self._run(self._cache, np.ascontiguousarray(ids[:, start : start + self.chunk]), all_positions)
            for start in range(0, ids.shape[1], self.chunk)
        ]
        return np.concatenate(pieces, axis=1) if all_positions else pieces[-1][:, -1]

    def generate(
        self,
        input_ids: Ids,
        *,
        max_new_tokens: int = 128,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int | None = None,
        stop_token_ids: Sequence[int] | None = None,
    ) -> Iterator[int]:
        """Yield new tokens one by one, until a stop token (yielded last), ``max_new_tokens`` or the context's end.

        One sequence at a time. ``stop_token_ids`` defaults to those of the model's generation config.
        """
        sampling = Sampling(temperature, top_k, top_p, seed)
        stops = set(self.bundle.manifest.stop_token_ids if stop_token_ids is None else stop_token_ids)
        logits = self.forward(input_ids)
        if logits.shape[0] != 1:
            raise InputError(f"generate takes one sequence, got {logits.shape[0]}", fix="use forward for batches")
        for index in range(max_new_tokens):
            token = sampling.choose(logits[0])
            yield token
            if token in stops or index + 1 == max_new_tokens or self.length >= self.bundle.manifest.context:
                return
            logits = self.forward([token])

    def _checked(self, input_ids: Ids) -> np.ndarray[Any, Any]:
        manifest = self.bundle.manifest
        ids = np.asarray(input_ids)
        if ids.size == 0:
            raise InputError("the prompt is empty", fix="give at least one token id")
        if ids.ndim == 1:
            ids = ids[None, :]
        if ids.ndim != 2 or ids.dtype.kind not in "iu":
            raise InputError(f"token ids must be integers of shape [batch, tokens], got {ids.dtype} {list(ids.shape)}")
        low, high = int(ids.min()), int(ids.max())
        if low < 0 or high >= manifest.vocab_size:
            raise InputError(
                f"token id {low if low < 0 else high} is out of range",
                why=f"the vocabulary has {manifest.vocab_size:,} ids, from 0",
            )
        if self._cache is not None and ids.shape[0] != self._cache.batch:
            raise InputError(
                f"the state holds {self._cache.batch} sequences, got {ids.shape[0]}", fix="call reset() first"
            )
        total = self.length + ids.shape[1]
        if total > manifest.context:
            raise InputError(
                f"{total:,} tokens are more than this bundle's context of {manifest.context:,}",
                fix="shorten the prompt, or compile with a larger --context",
            )
        return ids.astype(np.int64)

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
        binding.bind_cpu_input(
            "position_ids", np.tile(np.arange(cache.length, cache.length + new, dtype=np.int64), (batch, 1))
        )
        binding.bind_cpu_input("num_logits_to_keep", np.array(new if all_positions else 1, np.int64))
        binding.bind_output("logits")
        cache.bind(binding)
        self._decoder.run_with_iobinding(binding)
        # The binding lists outputs in the order they were bound, which is not the graph's.
        outputs = dict(zip(["logits", *cache.outputs], binding.get_outputs(), strict=True))
        cache.advance(new, outputs)
        logits: Logits = outputs["logits"].numpy()
        return logits


def load(
    path: str | Path,
    *,
    threads: int = 0,
    chunk: int = CHUNK,
    cache: str | Path | None = None,
    profile: str | Path | None = None,
) -> Session:
    """Open the bundle at ``path``, as `Session`. Raises BundleError when it is not whole or not for this version."""
    return Session(Bundle.open(path), threads, chunk, cache, profile)
