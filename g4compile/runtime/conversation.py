"""What every session does with tokens, whatever runs the model: checks, sampling, stopping."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from g4compile.bundle.folder import Bundle
from g4compile.errors import InputError
from g4compile.runtime.sampling import Sampling

Ids = Sequence[int] | Sequence[Sequence[int]] | np.ndarray[Any, Any]
Logits = np.ndarray[Any, Any]


class Conversation(ABC):
    """One conversation with a compiled model. Not safe to call from two threads at once."""

    bundle: Bundle

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

    @abstractmethod
    def reset(self) -> None:
        """Forget everything; the next call may have another batch size."""

    @abstractmethod
    def rewind(self, tokens: int) -> None:
        """Forget the last ``tokens``. Raises InputError past what the windowed caches still hold."""

    @abstractmethod
    def forward(self, input_ids: Ids, *, all_positions: bool = False) -> Logits:
        """Append ``input_ids`` (int64 [B, S], or a list for B = 1) to the state.

        Returns float32 logits [B, V] of the last position, or [B, S, V] with ``all_positions``. Raises InputError
        for an empty prompt, ids out of range, another batch size than before, and a context that is too long.
        """

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
        ids = self._checked(input_ids)
        if ids.shape[0] != 1:
            raise InputError(f"generate takes one sequence, got {ids.shape[0]}", fix="use forward for batches")
        for index in range(max_new_tokens):
            token = self._next(ids, sampling)
            yield token
            if token in stops or index + 1 == max_new_tokens or self.length >= self.bundle.manifest.context:
                return
            ids = np.array([[token]])

    def _next(self, ids: np.ndarray[Any, Any], sampling: Sampling) -> int:
        """Append ``ids`` [1, S] and choose the token behind them."""
        return sampling.choose(self.forward(ids)[0])

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
        if self.batch is not None and ids.shape[0] != self.batch:
            raise InputError(f"the state holds {self.batch} sequences, got {ids.shape[0]}", fix="call reset() first")
        total = self.length + ids.shape[1]
        if total > manifest.context:
            raise InputError(
                f"{total:,} tokens are more than this bundle's context of {manifest.context:,}",
                fix="shorten the prompt, or compile with a larger --context",
            )
        return ids.astype(np.int64)
