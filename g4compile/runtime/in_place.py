"""The state of a conversation whose keys and values a device writes in place: a call cannot work on a copy of them.

Full layers are written behind the state only. A ring of a sliding layer gives up its oldest tokens for new ones, and
holds `rewind` more than are seen. So a call that an error ends has changed nothing that is seen, unless it has written
more than that; then the state is lost, and only a reset is possible.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from g4compile.errors import InputError


class InPlace:
    """``length`` tokens of ``batch`` sequences (0 before the first). ``spare``: tokens that rings hold more than are
    seen."""

    def __init__(self, spare: int) -> None:
        self.length, self.batch, self._spare = 0, 0, spare
        self._written = 0  # tokens of this call whose keys and values may be in the caches
        self._damaged = False

    def reset(self) -> None:
        self.length, self.batch, self._damaged = 0, 0, False

    def rewind(self, tokens: int) -> None:
        """Forget the last ``tokens``, at most `length`. Raises InputError past what rings hold."""
        if tokens > self._spare:
            raise InputError(
                f"cannot rewind {tokens} tokens: the rings of sliding layers hold {self._spare} more than their window",
                fix="reset and run the prompt again",
            )
        self.length -= tokens

    def writes(self, tokens: int) -> None:
        """A run over ``tokens`` more begins."""
        self._written += tokens

    @contextmanager
    def whole(self) -> Iterator[None]:
        """A block that leaves the state as it was when an error ends it. Raises InputError when one has damaged it."""
        if self._damaged:
            raise InputError(
                "an error has damaged the state of this session",
                why="it came when the rings of sliding layers had been written over",
                fix="reset() the session and run the whole prompt again",
            )
        before, self._written = (self.length, self.batch), 0
        try:
            yield
        except BaseException:  # an interrupt too
            self.length, self.batch = before
            self._damaged = self.length > 0 and self._written > self._spare
            raise
