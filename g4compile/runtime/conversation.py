"""What every session does with tokens, whatever runs the model: checks, sampling, stopping, and a state that a call
changes wholly or not at all."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Self

import numpy as np

from g4compile.bundle.folder import Bundle
from g4compile.errors import InputError, MachineError
from g4compile.runtime import arguments
from g4compile.runtime.device import DeviceMemory
from g4compile.runtime.generation import check_takes
from g4compile.runtime.media.placeholders import Media
from g4compile.runtime.prompt import Prompt
from g4compile.runtime.sampling import Sampling

Ids = Sequence[int] | Sequence[Sequence[int]] | np.ndarray[Any, Any]
Logits = np.ndarray[Any, Any]
NO_MEDIA = Media()


_MOST_NEW = (1 << 31) - 1  # tokens of one answer; the context ends it long before


class Conversation(ABC):
    """One conversation with a compiled model.

    A call that fails, or is interrupted, leaves the state as it was before. Threads may take turns; a call while
    another one runs is an InputError.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle, self._running, self._closed = bundle, threading.Lock(), False

    def close(self) -> None:
        """Give back what the session holds: memory, the model's graphs, the device. Only `close` may follow."""
        with self._turn():
            if not self._closed:
                self._reset()
                self._close()
                self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    @property
    @abstractmethod
    def length(self) -> int:
        """Tokens in the KV state."""

    @property
    @abstractmethod
    def batch(self) -> int | None:
        """Sequences in the KV state; None before the first."""

    @property
    @abstractmethod
    def kv_bytes(self) -> int:
        """Bytes the KV state holds now."""

    @property
    def device_memory(self) -> DeviceMemory | None:
        """What the session holds of a GPU's memory; None where it uses none, or cannot tell."""
        return None

    @abstractmethod
    def _close(self) -> None:
        """Give everything back, once. The state is empty."""

    @abstractmethod
    def _reset(self) -> None:
        """Empty the state."""

    @abstractmethod
    def _rewind(self, tokens: int) -> None:
        """Take ``tokens``, at most `length`, off the state. Raises InputError where caches no longer allow it."""

    @abstractmethod
    def _forward(self, ids: np.ndarray[Any, Any], all_positions: bool, media: Media = NO_MEDIA) -> Logits:
        """`forward` of checked ``ids`` [B, S], with ``media`` only where the bundle takes them."""

    @abstractmethod
    def _whole(self) -> AbstractContextManager[None]:
        """A block that leaves the state as it was when an error ends it."""

    def reset(self) -> None:
        """Forget everything; the next call may have another batch size."""
        with self._alone():
            self._reset()

    def rewind(self, tokens: int) -> None:
        """Forget the last ``tokens``. Raises InputError past what the windowed caches still hold."""
        with self._call():
            tokens = arguments.integer("tokens", tokens, -_MOST_NEW, _MOST_NEW)
            if not 0 <= tokens <= self.length:
                raise InputError(f"cannot rewind {tokens} tokens of {self.length}")
            self._rewind(tokens)

    def forward(self, input_ids: Ids | Prompt, *, all_positions: bool = False) -> Logits:
        """Append ``input_ids`` (int64 [B, S], or a list for B = 1) to the state, or a prompt with media.

        Returns float32 logits [B, V] of the last position, or [B, S, V] with ``all_positions``. Raises InputError
        for an empty prompt, ids out of range, another batch size than before, a context that is too long, and media
        that the bundle does not take, or the prompt has no places for; MachineError when memory does not suffice;
        BundleError when the bundle's graphs cannot be run.
        """
        with self._call():
            every = arguments.flag("all_positions", all_positions)
            return self._forward(self._checked(input_ids), every, self._media(input_ids))

    def generate(
        self,
        input_ids: Ids | Prompt,
        *,
        max_new_tokens: int = 128,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int | None = None,
        stop_token_ids: Collection[int] | None = None,
    ) -> Iterator[int]:
        """Yield new tokens behind a prompt one by one, until a stop token (yielded last), ``max_new_tokens`` or the
        context's end.

        One sequence at a time. ``stop_token_ids`` defaults to those of the model's generation config. Arguments are
        checked by the call; an error later leaves the state behind the last token that was yielded.
        """
        sampling = Sampling(temperature, top_k, top_p, seed)
        limit = arguments.integer("max_new_tokens", max_new_tokens, 0, _MOST_NEW)
        manifest = self.bundle.manifest
        stops = frozenset(manifest.stop_token_ids)
        if stop_token_ids is not None:
            stops = arguments.tokens("stop_token_ids", stop_token_ids, manifest.vocab_size)
        ids = self._checked(input_ids)
        if ids.shape[0] != 1:
            raise InputError(f"generate takes one sequence, got {ids.shape[0]}", fix="use forward for batches")
        return self._generated(ids, self._media(input_ids), sampling, limit, stops)

    def _generated(
        self, ids: np.ndarray[Any, Any], media: Media, sampling: Sampling, limit: int, stops: frozenset[int]
    ) -> Iterator[int]:
        for index in range(limit):
            with self._call():
                token = self._next(self._checked(ids), sampling, media, index + 1 < limit)
            yield token
            if token in stops or index + 1 == limit or self.length >= self.bundle.manifest.context:
                return
            ids, media = np.array([[token]]), NO_MEDIA

    def _next(self, ids: np.ndarray[Any, Any], sampling: Sampling, media: Media = NO_MEDIA, more: bool = False) -> int:
        """Append ``ids`` [1, S] and choose the token behind them. ``more``: it is likely to be the next that is
        appended."""
        return sampling.choose(self._forward(ids, False, media)[0])

    def _media(self, given: Ids | Prompt) -> Media:
        """The media of a prompt. Raises InputError for a kind that the bundle does not take."""
        media = given.media if isinstance(given, Prompt) else NO_MEDIA
        kinds = {"image": media.images, "video": media.videos, "audio": media.audios}
        check_takes(self.bundle, *(kind for kind, found in kinds.items() if found))
        return media

    def _checked(self, input_ids: Ids | Prompt) -> np.ndarray[Any, Any]:
        """``input_ids``, or those of a prompt, as int64 [B, S] that fit the state."""
        manifest = self.bundle.manifest
        ids = arguments.input_ids(
            input_ids.input_ids if isinstance(input_ids, Prompt) else input_ids, manifest.vocab_size
        )
        if isinstance(input_ids, Prompt) and ids.shape[0] != 1:
            raise InputError(f"a prompt is one sequence, got {ids.shape[0]}", fix="use forward with ids for batches")
        if self.batch is not None and ids.shape[0] != self.batch:
            raise InputError(f"the state holds {self.batch} sequences, got {ids.shape[0]}", fix="call reset() first")
        total = self.length + ids.shape[1]
        if total > manifest.context:
            raise InputError(
                f"{total:,} tokens are more than this bundle's context of {manifest.context:,}",
                fix="shorten the prompt, or compile with a larger --context",
            )
        return ids

    @contextmanager
    def _call(self) -> Iterator[None]:
        """A block that is one call: alone, and wholly done or not at all."""
        with self._alone(), self._whole():
            try:
                yield
            except MemoryError as error:  # of what has no size that could be asked for beforehand
                raise MachineError(
                    "there is not enough memory for this call",
                    why=str(error),
                    fix="free memory, or give fewer or shorter sequences",
                ) from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """A block that no other thread is in. Raises InputError when one is, or the session is closed."""
        with self._turn():
            if self._closed:
                raise InputError("this session is closed", fix="load the bundle again")
            yield

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._running.acquire(blocking=False):
            raise InputError(
                "this session is in use by another thread",
                why="a session is one conversation, and a call on it has not ended yet",
                fix="wait until that call has ended, or load a session for each thread",
            )
        try:
            yield
        finally:
            self._running.release()
