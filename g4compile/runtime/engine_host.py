"""What the host does for a decoder's engines: which step takes which tokens, and what it is fed beside caches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from g4compile.bundle.manifest import HostSpec
from g4compile.bundle.requires import BLOCK_BOUNDS
from g4compile.runtime import feeds
from g4compile.runtime.engine_steps import Planner, singles
from g4compile.runtime.placed import Features
from g4compile.runtime.tables import Array, ReadRows, look_up

EMBEDS, INDEX = "inputs_embeds", "logit_index"


@dataclass(frozen=True)
class StepFeeds:
    """One run of the step ``name`` over ``tokens`` int64 [B, n], filled up to its T: its inputs by name, [B, T, ...],
    float32 or int64. ``every``: it keeps the logits of all T positions, and not of the n-th alone."""

    name: str
    tokens: Array
    inputs: dict[str, Array]
    every: bool

    @property
    def end(self) -> int:
        """One past the last position that the run writes."""
        return int(self.inputs[feeds.POSITIONS][0, -1]) + 1

    def real(self, kept: Array) -> Array:
        """What the run ``kept`` [B, T or 1, ...], of its tokens."""
        return kept[:, : self.tokens.shape[1]] if self.every else kept


class EngineHost:
    """``read_rows``: of the tables of ``host``. ``planner``: of the steps. ``inputs``: names that the decoder's graphs
    read, which say whether tokens of an image see each other."""

    def __init__(self, host: HostSpec, read_rows: ReadRows, planner: Planner, inputs: Sequence[str]) -> None:
        self._host, self._read_rows, self._planner = host, read_rows, planner
        self._bounds = [name for name in BLOCK_BOUNDS if name in inputs]

    def steps(
        self, ids: Array, length: int, all_positions: bool, features: Features | None = None
    ) -> Iterator[StepFeeds]:
        """The steps for ``ids`` [B, S] behind ``length`` tokens, with ``features`` in the place of some.

        Raises InputError, before the first, for an image that no step takes.
        """
        batch, new = ids.shape
        places = feeds.NOWHERE if features is None else features.seen
        bounds = dict(zip(BLOCK_BOUNDS, feeds.blocks(places, length, batch, new), strict=True)) if self._bounds else {}
        ends = bounds[BLOCK_BOUNDS[1]][0] - length if bounds else singles(new)
        for piece in list(self._planner.pieces(length, ends, all_positions)):
            part = slice(piece.start, piece.stop)
            tokens, filled = ids[:, part], piece.step.tokens
            count = tokens.shape[1]
            padded = tokens
            if count < filled:
                padded = np.full((batch, filled), self._host.pad, np.int64)
                padded[:, :count] = tokens
            inputs = look_up(self._host, padded, self._read_rows)
            positions = inputs[feeds.POSITIONS] = feeds.positions(length + piece.start, batch, filled)
            if features is not None:
                inputs[EMBEDS][:, :count] = features.put(inputs[EMBEDS][:, :count], piece.start)
            for bound in self._bounds:
                inputs[bound] = positions.copy()  # of padding, which is of no image
                inputs[bound][:, :count] = bounds[bound][:, part]
            every = piece.step.keep == "all"
            if not every:
                inputs[INDEX] = np.full((batch, 1, 1), count - 1, np.int64)
            yield StepFeeds(piece.step.name, tokens, inputs, every)
