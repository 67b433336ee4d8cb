"""Which step runs which tokens.

A chunk starts where a multiple of the chunk size stands, so that it never wraps in the ring of a sliding layer, whose
size is such a multiple too: a conversation that stopped in between first fills up to the next multiple. Where tokens of
an image see each other they are one step, wherever they begin: rings of such engines do not wrap.
"""

from __future__ import annotations

from collections.abc import Iterator

from g4compile.errors import InputError
from g4compile.runtime import feeds

VERIFY = 8  # most tokens of a verify step, of which a chunk is a multiple; prefill takes more


def plan_chunks(length: int, new: int, chunk: int, all_positions: bool) -> Iterator[tuple[str, int, int]]:
    """(step, start, stop) of ``new`` tokens behind ``length``. ``all_positions``: only steps that keep all logits."""
    size = VERIFY if all_positions else chunk
    start = 0
    while start < new:
        stop = min(new, start + size - (length + start) % size)
        count = stop - start
        yield _step_of(count), start, stop
        start = stop


def plan_blocks(ends: feeds.Array, chunk: int, all_positions: bool) -> Iterator[tuple[str, int, int]]:
    """The same of as many tokens as ``ends``, the last place of the block of each, of which no step ends inside.

    Raises InputError for a block that no step takes.
    """
    most = VERIFY if all_positions else chunk
    for piece in feeds.pieces(ends, most):
        count = piece.stop - piece.start
        if count > most:
            raise InputError(
                f"an image of {count} tokens is more than the {most} that these engines take at once"
                + (", with the logits of all positions" if all_positions else ""),
                why="in this model tokens of an image see each other, so they run in one step",
                fix="call forward without all_positions"
                if all_positions
                else f"compile with --chunk {1 << (count - 1).bit_length()}, or give the image a smaller budget",
            )
        yield _step_of(count), piece.start, piece.stop


def _step_of(count: int) -> str:
    return "decode" if count == 1 else "verify" if count <= VERIFY else "prefill"
