"""Sequences of unequal lengths that are decoded together, and that join and leave between steps.

A prompt runs alone, over the caches of its row. A step runs all rows up to the highest used one in the smallest
captured graph that holds them; rows without a sequence, or whose token the prompt has just given, have no position.
Where a run writes every row, they have the next position that a run of their own will write over: nothing is there yet.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field

import numpy as np

from g4compile.bundle.manifest import Manifest
from g4compile.errors import G4Error, InputError
from g4compile.runtime import arguments
from g4compile.runtime.cuda.graph import MOST_ROWS
from g4compile.runtime.cuda.memory import Array, Shared
from g4compile.runtime.cuda.rows import UNUSED, Rows
from g4compile.runtime.sampling import Sampling

_MOST_NEW = (1 << 31) - 1
_SIZES = (1, 2, 4, 8, 16, 32, MOST_ROWS)  # rows of captured graphs


@dataclass
class Sequence:
    """``length``: tokens with keys and values. ``token``: the newest, which has none yet. ``left``: how many more may
    be made. ``fresh``: whether the prompt gave ``token``, and no step has told it."""

    sampling: Sampling
    stops: frozenset[int]
    left: int
    length: int
    token: int
    fresh: bool = field(default=True)


class Batch:
    """At most ``rows.count`` sequences. Made by `CudaSession.batch`; ``alone``: a block that is one call of its
    session. A call that fails changes nothing."""

    def __init__(
        self, rows: Rows, shared: Shared, chunk: int, alone: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._rows, self._shared, self._chunk, self._alone = rows, shared, chunk, alone
        self._sequences: list[Sequence | None] = [None] * rows.count
        self.closed = False
        self._ahead: dict[int, int] | None = None  # a step on the stream: the positions of its rows

    @property
    def size(self) -> int:
        """Sequences that there is room for."""
        return self._rows.count

    @property
    def active(self) -> tuple[int, ...]:
        """Rows whose sequences are not complete, ascending."""
        return tuple(row for row, sequence in enumerate(self._sequences) if sequence is not None)

    @property
    def kv_bytes(self) -> int:
        return self._rows.kv_bytes

    @property
    def buffer_bytes(self) -> int:
        return self._rows.buffer_bytes

    def join(
        self,
        input_ids: object,
        *,
        max_new_tokens: int = 128,
        temperature: float = 0.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int | None = None,
        stop_token_ids: Collection[int] | None = None,
    ) -> int:
        """Run the prompt ``input_ids`` and give its row; the next `step` has its first token. Options are those of
        `Conversation.generate`.

        Raises InputError for what is not possible, for a full batch and for a prompt that leaves no room in the
        context; MachineError when memory does not suffice.
        """
        sampling = Sampling(temperature, top_k, top_p, seed)
        most = arguments.integer("max_new_tokens", max_new_tokens, 1, _MOST_NEW)
        manifest = self._shared.manifest
        stops = frozenset(manifest.stop_token_ids)
        if stop_token_ids is not None:
            stops = arguments.tokens("stop_token_ids", stop_token_ids, manifest.vocab_size)
        ids = _prompt(input_ids, manifest)
        with self._call():
            row = next((row for row, sequence in enumerate(self._sequences) if sequence is None), None)
            if row is None:
                raise InputError(
                    f"the batch is full: all {self.size} rows are in use",
                    fix="wait until a sequence is complete, `leave` one, or make a larger batch",
                )
            for start in range(0, ids.shape[1], self._chunk):
                piece = ids[:, start : start + self._chunk]
                self._rows.prompt(row, piece, start, keep=int(start + self._chunk >= ids.shape[1]))
            token = self._rows.choose(row, sampling, first=True)
            self._sequences[row] = Sequence(sampling, stops, most - 1, ids.shape[1], token)
        return row

    def leave(self, row: int) -> None:
        """Drop the sequence of ``row``. Raises InputError when it has none."""
        with self._call():
            row = arguments.integer("row", row, 0, self.size - 1)
            if self._sequences[row] is None:
                raise InputError(f"row {row} has no sequence", why=f"rows in use: {list(self.active)}")
            self._sequences[row] = None

    def step(self) -> list[tuple[int, int]]:
        """One more token of every active row: (row, token), by row. A row whose sequence is complete, by a stop
        token, its `max_new_tokens` or the context's end, leaves. Nothing where no row is active."""
        with self._call():
            chosen = self._decode()
            made = []
            for row, sequence in enumerate(self._sequences):
                if sequence is None:
                    continue
                if row in chosen:
                    sequence.length, sequence.token, sequence.left = sequence.length + 1, chosen[row], sequence.left - 1
                sequence.fresh = False
                made.append((row, sequence.token))
                full = sequence.length >= self._shared.manifest.context
                if sequence.token in sequence.stops or sequence.left == 0 or full:
                    self._sequences[row] = None
        return made

    def close(self) -> None:
        """Give the memory back. Only `close` may follow."""
        if not self.closed:
            with self._call():
                self.drop()

    def drop(self) -> None:
        """The same, within a call of the session."""
        if not self.closed:
            self._rows.free()
            self._sequences = [None] * self.size
            self.closed = True

    def _decode(self) -> dict[int, int]:
        """Run a step of all rows that are to give a token, and choose it: by row. States are as they were."""
        going = {row: one for row, one in enumerate(self._sequences) if one is not None and not one.fresh}
        if not going:
            self._ahead = None
            return {}
        if self._ahead is None or any(self._ahead.get(row) != one.length for row, one in going.items()):
            tokens, positions = self._tokens(going), self._places({row: one.length for row, one in going.items()})
            self._rows.step(positions, tokens)
        self._rows.fetch(0, self._size_of(going))
        self._ahead = self._run_ahead(going)
        likeliest = self._rows.fetched(self._size_of(going))
        draws = {row: one.sampling.draws for row, one in going.items()}
        try:
            among = self._among(going)
            return {row: self._choose(row, one.sampling, likeliest, among) for row, one in going.items()}
        except BaseException:
            for row, count in draws.items():
                going[row].sampling.draws = count
            raise

    def _run_ahead(self, going: Mapping[int, Sequence]) -> dict[int, int] | None:
        """Put the next step on the stream before the host has seen the tokens of this one: the position of each row in
        it. None where the device does not know all tokens, or has no graph of it. A row whose token turns out to be its
        last has written behind what is seen."""
        places = {row: one.length + 1 for row, one in going.items() if one.left > 1}
        places = {row: place for row, place in places.items() if place < self._shared.manifest.context}
        others = any(one is not None and (one.fresh or one.sampling.temperature > 0) for one in self._sequences)
        if others or not places or not self._rows.captured(self._size_of(places)):
            return None
        self._rows.step(self._places(places))
        return places

    def _size_of(self, rows: Collection[int]) -> int:
        """Of the graph that holds all ``rows``."""
        return min(next(size for size in _SIZES if size > max(rows)), self.size)

    def _places(self, places: Mapping[int, int]) -> Array:
        """The positions of all rows of a step, from those of some."""
        found = np.full(self._size_of(places), UNUSED, np.int64)
        if self._rows.writes_all:
            last = self._shared.manifest.context - 1
            lengths = [0 if one is None else min(one.length, last) for one in self._sequences]
            found[:] = lengths[: len(found)]
        found[list(places)] = list(places.values())
        return found

    def _tokens(self, going: Mapping[int, Sequence]) -> Array:
        found = self._rows.known(self._size_of(going))
        found[list(going)] = [one.token for one in going.values()]
        return found

    def _among(self, going: Mapping[int, Sequence]) -> Mapping[int, tuple[Array, Array]]:
        """The likeliest tokens of rows that are drawn from them: one run for all of them."""
        drawn = [row for row, one in going.items() if self._rows.finds_enough(one.sampling)]
        if not drawn:
            return {}
        return dict(enumerate(self._rows.likeliest(drawn[0], drawn[-1] + 1 - drawn[0]), drawn[0]))

    def _choose(self, row: int, sampling: Sampling, likeliest: Array, among: Mapping[int, tuple[Array, Array]]) -> int:
        """The token of ``row`` behind the last run, which found the ``likeliest`` of all rows, and ``among`` which
        tokens draws are made."""
        if sampling.temperature == 0:
            return int(likeliest[row])
        if self._rows.finds_enough(sampling):
            return sampling.choose_among(*among[row])
        return self._rows.choose(row, sampling)

    @contextmanager
    def _call(self) -> Iterator[None]:
        with self._alone():
            if self.closed:
                raise InputError("this batch is closed", fix="make another one of the session")
            try:
                yield
            except BaseException:  # an interrupt too
                with suppress(G4Error):  # the first error is the one to tell
                    self._shared.settle()
                self._rows.forget()
                self._ahead = None
                raise


def _prompt(input_ids: object, manifest: Manifest) -> Array:
    """``input_ids`` as int64 [1, S], with room for a token behind them."""
    ids = arguments.input_ids(input_ids, manifest.vocab_size)
    if ids.shape[0] != 1:
        raise InputError(f"a row takes one sequence, got {ids.shape[0]}", fix="join them one by one")
    if ids.shape[1] > manifest.context:
        raise InputError(
            f"{ids.shape[1]:,} tokens are more than this bundle's context of {manifest.context:,}",
            fix="shorten the prompt, or compile with a larger --context",
        )
    return ids
