"""The state of a conversation whose keys and values a device writes in place: a call cannot work on a copy of them.

Full layers are written behind the state only. A ring of a sliding layer gives up its oldest tokens for new ones, and
holds `rewind` more than are seen. How far it was written counts, not how many tokens the state has: a step may write
padding behind them, and tokens that were taken back have written too. So a call that an error ends has changed nothing
that is seen, unless it has written too far; then the state is lost, and only a reset is possible.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from g4compile.errors import InputError


class InPlace:
    """``length`` tokens of ``batch`` sequences (0 before the first). ``spare``: tokens that rings hold more than are
    seen. ``slots`` of a ring, where nothing is given up before they are all written; 0 where that is not known.
    ``most``: tokens that one rewind takes back, where it is fewer than rings hold."""

    def __init__(self, spare: int, slots: int = 0, most: int | None = None) -> None:
        self.length, self.batch, self._spare, self._slots, self._most = 0, 0, spare, slots, most
        self._reach = 0  # one past the last position that was written since the state was empty
        self._damaged = False

    def reset(self) -> None:
        self.length, self.batch, self._reach, self._damaged = 0, 0, 0, False

    def rewind(self, tokens: int) -> None:
        """Forget the last ``tokens``, at most `length`. Raises InputError past what rings hold."""
        held = max(0, self._spare - (self._reach - self.length))
        most = held if self._most is None else min(held, self._most)
        if tokens > most and (self._most is not None or not self._holds(self.length - tokens)):
            raise InputError(
                f"cannot rewind {tokens} tokens: the rings of sliding layers hold {most} more than their window",
                fix="reset and run the prompt again",
            )
        self._back_to(self.length - tokens)

    def writes(self, end: int) -> None:
        """A run begins that writes positions up to ``end``, which is not among them."""
        self._reach = max(self._reach, end)

    @contextmanager
    def whole(self) -> Iterator[None]:
        """A block that leaves the state as it was when an error ends it. Raises InputError when one has damaged it."""
        if self._damaged:
            raise InputError(
                "an error has damaged the state of this session",
                why="it came when the rings of sliding layers had been written over",
                fix="reset() the session and run the whole prompt again",
            )
        length, batch = self.length, self.batch
        try:
            yield
        except BaseException:  # an interrupt too
            self._damaged = not self._holds(length)
            self.batch = batch
            self._back_to(length)
            raise

    def _back_to(self, length: int) -> None:
        self.length = length
        if length == 0:  # nothing of what was written is seen any more
            self._reach = 0

    def _holds(self, length: int) -> bool:
        """Whether rings hold all that tokens behind ``length`` see."""
        return length == 0 or self._reach <= self._slots or self._reach - length <= self._spare
