"""What the host does for a decoder's engines: which step takes which tokens, and what it is fed beside caches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from g4compile.bundle.manifest import HostSpec
from g4compile.bundle.requires import BLOCK_BOUNDS
from g4compile.runtime import feeds
from g4compile.runtime.engine_steps import plan_blocks, plan_chunks
from g4compile.runtime.placed import Features
from g4compile.runtime.tables import Array, ReadRows, look_up

EMBEDS = "inputs_embeds"


@dataclass(frozen=True)
class StepFeeds:
    """One run of the step ``name`` over ``tokens`` int64 [B, S]: its inputs by name, float32 or int64."""

    name: str
    tokens: Array
    inputs: dict[str, Array]


class EngineHost:
    """``read_rows``: of the tables of ``host``. ``chunk``: most tokens of a step. ``inputs``: names that the decoder's
    graphs read, which say whether tokens of an image see each other."""

    def __init__(self, host: HostSpec, read_rows: ReadRows, chunk: int, inputs: Sequence[str]) -> None:
        self._host, self._read_rows, self._chunk = host, read_rows, chunk
        self._bounds = [name for name in BLOCK_BOUNDS if name in inputs]

    def steps(
        self, ids: Array, length: int, all_positions: bool, features: Features | None = None
    ) -> Iterator[StepFeeds]:
        """The steps for ``ids`` [B, S] behind ``length`` tokens, with ``features`` in the place of some.

        Raises InputError, before the first, for an image that no step takes.
        """
        batch, new = ids.shape
        places = feeds.NOWHERE if features is None else features.seen
        bounds = dict(zip(BLOCK_BOUNDS, feeds.blocks(places, length, batch, new), strict=True))
        if features is not None and self._bounds:
            planned = list(plan_blocks(bounds[BLOCK_BOUNDS[1]][0] - length, self._chunk, all_positions))
        else:
            planned = list(plan_chunks(length, new, self._chunk, all_positions))
        for name, start, stop in planned:
            piece = ids[:, start:stop]
            inputs = look_up(self._host, piece, self._read_rows)
            inputs[feeds.POSITIONS] = feeds.positions(length + start, batch, stop - start)
            if features is not None:
                inputs[EMBEDS] = features.put(inputs[EMBEDS], start)
            inputs |= {bound: bounds[bound][:, start:stop] for bound in self._bounds}
            yield StepFeeds(name, piece, inputs)
