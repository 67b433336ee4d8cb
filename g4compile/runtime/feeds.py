"""What the host feeds a decoder beside token ids, whatever runs it: positions, and the keys and values of the last
call.

Keys and values are the inputs `past_key_values.N.PART` and the outputs `present.N.PART` of each layer N that owns them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from g4compile.bundle import kv

Array = np.ndarray[Any, Any]
Value = TypeVar("Value")
PAST, PRESENT = kv.PAST, kv.PRESENT
NOWHERE = np.empty(0, np.int64)  # the places of no images
POSITIONS, KEEP, LOGITS = "position_ids", "num_logits_to_keep", "logits"


def positions(length: int, batch: int, new: int) -> Array:
    """int64 [batch, new]: the places of ``new`` tokens behind ``length``."""
    return np.arange(length, length + new, dtype=np.int64).reshape(1, new).repeat(batch, axis=0)


def blocks(places: Array, length: int, batch: int, new: int) -> tuple[Array, Array]:
    """int64 [batch, new]: of ``new`` tokens behind ``length``, the first and the last position of the image that each
    is of; its own position for a token of none. ``places``, ascending, count from ``length``: tokens of images, of
    which neighbours belong together (transformers `get_block_sequence_ids_for_mask`)."""
    starts, ends = positions(length, batch, new), positions(length, batch, new)
    for run in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1) if len(places) else ():
        starts[:, run], ends[:, run] = length + run[0], length + run[-1]
    return starts, ends


def pieces(ends: Array, chunk: int) -> Iterator[slice]:
    """A call of len(``ends``) tokens in runs of ``chunk`` at most, of which none ends inside a block: ``ends`` has the
    last place of the block of each token. A larger block is a run of its own."""
    start, total = 0, len(ends)
    while start < total:
        stop = min(start + chunk, total)
        if ends[stop - 1] >= stop:
            first = int(np.searchsorted(ends, ends[stop - 1]))
            stop = first if first > start else int(ends[stop - 1]) + 1
        yield slice(start, stop)
        start = stop


def keep(count: int) -> Array:
    """int64 []: how many of the last positions have logits."""
    return np.array(count, np.int64)


def past_names(inputs: Iterable[str]) -> list[str]:
    """Those of ``inputs`` that are keys and values."""
    return [name for name in inputs if name.startswith(PAST)]


def past_of(output: str) -> str:
    """The input whose next value the output ``output`` is; another output's own name."""
    return PAST + output.removeprefix(PRESENT) if output.startswith(PRESENT) else output


def carried(past: Iterable[str], outputs: Mapping[str, Value]) -> dict[str, Value]:
    """The next call's inputs ``past``, from what this one gave back."""
    return {name: outputs[PRESENT + name.removeprefix(PAST)] for name in past}


def joined(pieces: Sequence[Array], all_positions: bool) -> Array:
    """Logits of a call from those of its chunks, each [B, S, V]: all of them, or [B, V] of the last position."""
    return np.concatenate(pieces, axis=1) if all_positions else pieces[-1][:, -1]
