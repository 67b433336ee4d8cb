"""A session over an ONNX bundle: token ids in, logits or tokens out, keys and values kept between calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from g4compile.bundle.folder import Bundle
from g4compile.bundle.manifest import DATA, DECODER, EMBED
from g4compile.bundle.requires import BLOCK_BOUNDS, GENAI
from g4compile.errors import InputError
from g4compile.runtime import arguments, feeds
from g4compile.runtime.conversation import NO_MEDIA, Conversation, Logits
from g4compile.runtime.failures import run_errors
from g4compile.runtime.features import Encoders, put
from g4compile.runtime.graphs import mapped_pages, open_graph, release_pages
from g4compile.runtime.kv_cache import KVCache
from g4compile.runtime.media.placeholders import Media
from g4compile.runtime.onnx_runtime import ort

# Tokens after which the pages of tables are given back: a lookup maps 64 kB around each of a token's rows.
_LOOKUPS = 256
CHUNK = 256  # new tokens per run: the values between nodes take memory in proportion
EMBEDS = "inputs_embeds"
_LARGEST_CHUNK = 1 << 20  # longer than any context


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
        """``threads``: 0 lets ONNX Runtime decide; at most 4 for each core. ``chunk``: most new tokens in one run of
        the graph, 1 to 1,048,576; fewer where a ring has room for fewer.

        ``cache``: a folder for weights rearranged by ONNX Runtime, which later loads map instead of making them;
        panels, which libg4ops reads as they are stored, need none.
        ``profile``: begin of the name of ONNX Runtime's profile of the decoder; `end_profiling` completes it.
        """
        _check_ours(bundle)
        super().__init__(bundle)
        self.chunk = arguments.integer("chunk", chunk, 1, _LARGEST_CHUNK)
        threads = arguments.threads(threads)
        paths = arguments.optional_path("cache", cache), arguments.optional_path("profile", profile)
        before = mapped_pages(bundle.folder / DATA)
        self._embed = open_graph(bundle, EMBED, 1)
        # Those of lookups alone: the decoder, which reads its weights at every step, maps them itself.
        self._tables = mapped_pages(bundle.folder / DATA) - before
        self._decoder = open_graph(bundle, DECODER, threads, *paths)
        self._looked_up = 0
        self._encoders = Encoders(bundle, threads, paths[0])
        self._embedded = [output.name for output in self._embed.get_outputs()]
        read = {value.name for value in self._decoder.get_inputs()}
        self._bounds = [name for name in BLOCK_BOUNDS if name in read]
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
        with self._alone():
            return str(self._decoder.end_profiling())

    def _reset(self) -> None:
        self._cache = None

    def _close(self) -> None:
        del self._embed, self._decoder, self._encoders

    def _rewind(self, tokens: int) -> None:
        if self._cache is not None:
            self._cache.rewind(tokens)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        before = self._cache
        self._cache = before.copy() if before is not None else None
        try:
            yield
        except BaseException:  # an interrupt too
            self._cache = before
            raise

    def _forward(self, ids: np.ndarray[Any, Any], all_positions: bool, media: Media = NO_MEDIA) -> Logits:
        features = self._encoders.features(ids, media)
        cache = self._cache
        if cache is None:
            cache = self._cache = KVCache(self.bundle.manifest.kv, ids.shape[0], self.bundle.manifest.context)
        cache.check_room(ids.shape[1])
        cache.detach(ids.shape[1])
        pieces, chunk = [], min(self.chunk, cache.most_new or self.chunk)
        (batch, new), first = ids.shape, cache.length
        places = features.seen if features is not None and self._bounds else np.empty(0, np.int64)
        bounds = dict(zip(BLOCK_BOUNDS, feeds.blocks(places, first, batch, new), strict=True))
        for piece in feeds.pieces(bounds[BLOCK_BOUNDS[1]][0] - first, chunk):
            given = np.ascontiguousarray(ids[:, piece])
            cache.reserve(given.shape[1])
            with run_errors(f"{batch:,} sequences of {given.shape[1]:,} tokens", self._graph_file):
                fed = self._embed_ids(given)
                if features is not None:
                    fed[EMBEDS] = put(features, fed[EMBEDS], piece.start)
                for name in self._bounds:
                    fed[name] = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(bounds[name][:, piece]))
                pieces.append(self._run(cache, fed, given.shape, all_positions))
        return feeds.joined(pieces, all_positions)

    @property
    def _graph_file(self) -> Path:
        return self.bundle.graph_path(self.bundle.manifest.graph(DECODER))

    def _embed_ids(self, ids: np.ndarray[Any, Any]) -> dict[str, Any]:
        """What the decoder reads of ``ids`` [B, S]: OrtValues by name."""
        embedded = self._embed.run_with_ort_values(None, {"input_ids": ort.OrtValue.ortvalue_from_numpy(ids)})
        self._looked_up += ids.size
        if self._looked_up > _LOOKUPS:
            release_pages(self._tables)
            self._looked_up = 0
        return dict(zip(self._embedded, embedded, strict=True))

    def _run(self, cache: KVCache, fed: Mapping[str, Any], shape: tuple[int, ...], all_positions: bool) -> Logits:
        batch, new = shape
        binding = self._decoder.io_binding()
        for name, value in fed.items():
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
    """Open the bundle at ``path``, as `Session`; one of the target onnx-cuda as `CudaSession`; an engine bundle as
    `EngineSession`, with the ``checkpoint`` folder that holds its weights, where it does not itself, and one of
    TensorRT-RTX with a folder ``cache`` for the kernels that it compiles. Raises InputError for an argument that is not
    possible, BundleError when the bundle is not whole or not for this version, MachineError without a GPU."""
    weights = arguments.optional_path("checkpoint", checkpoint)
    bundle = Bundle.open(arguments.path("path", path))
    if bundle.manifest.cuda is not None:
        given = {"threads": threads or None, "chunk": None if chunk == CHUNK else chunk}
        return _cuda(bundle, **given, cache=cache, profile=profile, checkpoint=weights)
    if bundle.manifest.engine is None:
        return Session(bundle, threads, chunk, cache, profile)
    compiles = bundle.manifest.engine.product == "tensorrt-rtx"  # kernels, when it loads
    _refuse("an engine bundle", threads=threads or None, cache=None if compiles else cache, profile=profile)
    from g4compile.runtime.engine import EngineSession

    return EngineSession(bundle, weights, cache=arguments.optional_path("cache", cache))


def _check_ours(bundle: Bundle) -> None:
    """Raise InputError for a package of another runtime."""
    if GENAI in bundle.manifest.requires:
        raise InputError(
            f"{bundle.folder} is a package for onnxruntime-genai, which no session of g4compile runs",
            why="its graphs have the inputs and caches that onnxruntime-genai feeds",
            fix="give the folder to onnxruntime_genai.Model, or compile without --package",
        )


def _cuda(bundle: Bundle, **useless: object) -> Conversation:
    _refuse("a bundle of the target onnx-cuda", **useless)
    from g4compile.runtime.cuda.session import CudaSession

    return CudaSession(bundle)


def _refuse(what: str, **given: object) -> None:
    """Raise InputError for the first argument that is given, of which ``what`` has no use."""
    for name, value in given.items():
        if value is not None:
            raise InputError(f"{what} has no use for {name}", fix=f"leave {name} away")
