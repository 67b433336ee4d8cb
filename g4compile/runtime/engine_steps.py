"""Which step runs which tokens.

A step of T tokens at the position P writes the slots of P to P + T - 1, whatever it was given: tokens fill its first
places, and padding the others. So a place for it is where a ring does not wrap and the context does not end:

    P modulo ring + T <= ring        P + T <= context

What padding has written stands behind the state, where no token sees it (a query sees no later position) and the next
steps write over it. What it has written over in a ring is a ring's length older than padding: at most
P + T - 1 - ring, and a ring of window - 1 + chunk slots or more makes that at most P - window, which no token from P on
sees. `docs/engines.md` states the rules; which of the steps that they allow is run decides only speed and rounding.

Where tokens of an image see each other they are in one step, wherever they begin: rings of such engines do not wrap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from g4compile.errors import InputError
from g4compile.runtime import feeds

_READ = 256  # tokens of a step up to which it takes about as long as reading the weights


class Step(Protocol):
    """What is to be known of a step: its ``name``, the ``tokens`` of a run, and whether it ``keep``s logits of `all`
    positions, or of `one`."""

    @property
    def name(self) -> str: ...
    @property
    def tokens(self) -> int: ...
    @property
    def keep(self) -> str: ...


@dataclass(frozen=True)
class Piece:
    """A run of ``step`` over the tokens ``start`` to ``stop`` of a call."""

    step: Step
    start: int
    stop: int


@dataclass(frozen=True)
class Planner:
    """``steps`` of an engine, of which one takes a single token; slots of a sliding layer's ``ring``, and of a full
    layer, the ``context``."""

    steps: Sequence[Step]
    ring: int
    context: int

    def pieces(self, length: int, ends: feeds.Array, all_positions: bool) -> Iterator[Piece]:
        """The runs for ``len(ends)`` tokens behind ``length``. ``ends``: the last place of the block that each is of,
        of which no run ends inside; its own place for a token of none. ``all_positions``: only steps that keep all
        logits.

        Raises InputError for a block that no step takes.
        """
        start, total = 0, len(ends)
        steps = [step for step in self.steps if step.keep == "all" or not all_positions]
        while start < total:
            room = self._room(length + start)
            piece = _next(steps, start, min(total - start, room), room, ends)
            if piece is None:
                raise _refused(int(ends[start]) + 1 - start, steps, self.context - length - start, all_positions)
            yield piece
            start = piece.stop

    def _room(self, position: int) -> int:
        """Slots from ``position`` on that a step may write."""
        left = self.context - position
        return min(left, self.ring - position % self.ring)


def singles(count: int) -> feeds.Array:
    """The ``ends`` of ``count`` tokens of no block."""
    return np.arange(count)


def _next(steps: Sequence[Step], start: int, count: int, room: int, ends: feeds.Array) -> Piece | None:
    """The run that begins at ``start``, on the way to ``count`` tokens more; None where a block fits into no step.

    The step is the one with which the way takes least time, then fewest runs, then fewest tokens. It is filled up at
    once where the last of the way could not be, for want of room.
    """

    def cost(step: Step) -> tuple[int, int, int]:
        runs = -(-count // step.tokens)
        return runs * max(step.tokens, _READ), runs, step.tokens

    for step in sorted((step for step in steps if step.tokens <= room), key=cost):
        runs, most = -(-count // step.tokens), min(count, step.tokens)
        at_once = runs * step.tokens > room
        for taken in (count - (runs - 1) * step.tokens if at_once else most, most):
            stop = start + taken
            if ends[stop - 1] >= stop:  # inside a block: end before it
                stop = int(np.searchsorted(ends, ends[stop - 1]))
            if stop > start:
                return Piece(step, start, stop)
    return None


def _refused(count: int, steps: Sequence[Step], left: int, all_positions: bool) -> InputError:
    most = max(step.tokens for step in steps)
    why = "in this model tokens of an image see each other, so they run in one step"
    if count <= most:
        return InputError(
            f"an image of {count} tokens is too near to the context's end, which is {left:,} tokens away",
            why=f"{why}, which takes no fewer than it was compiled for",
            fix="shorten the prompt, or compile with a larger --context",
        )
    return InputError(
        f"an image of {count} tokens is more than the {most} that these engines take at once"
        + (", with the logits of all positions" if all_positions else ""),
        why=why,
        fix="call forward without all_positions"
        if all_positions
        else f"compile with --chunk {1 << (count - 1).bit_length()}, or give the image a smaller budget",
    )
