"""Which step runs which tokens.

A chunk starts where a multiple of the chunk size stands, so that it never wraps in the ring of a sliding layer, whose
size is such a multiple too: a conversation that stopped in between first fills up to the next multiple.
"""

from __future__ import annotations

from collections.abc import Iterator

VERIFY = 8  # most tokens of a verify step, of which a chunk is a multiple; prefill takes more


def plan_chunks(length: int, new: int, chunk: int, all_positions: bool) -> Iterator[tuple[str, int, int]]:
    """(step, start, stop) of ``new`` tokens behind ``length``. ``all_positions``: only steps that keep all logits."""
    size = VERIFY if all_positions else chunk
    start = 0
    while start < new:
        stop = min(new, start + size - (length + start) % size)
        count = stop - start
        yield "decode" if count == 1 else "verify" if count <= VERIFY else "prefill", start, stop
        start = stop
