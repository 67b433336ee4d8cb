"""A loop of a chat template as it runs: the item that is next is taken only when something asks for it, as in Jinja."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from g4compile.text_tables.chat_code import LoopAttribute
from g4compile.text_tables.walk_values import Undefined

_NONE: Any = object()


@dataclass
class Loop:
    """``accept``: where the code stands that accepts items; None: all are. ``size``: how many items there are, where
    that is known. ``ahead``: items that were asked for before their turn."""

    source: Iterator[Any]
    accept: int | None
    size: int | None
    ahead: deque[Any] = field(default_factory=deque)
    ended: bool = False  # nothing is behind `ahead`
    done: bool = False  # a body came to its end
    index0: int = -1
    before: Any = _NONE
    current: Any = _NONE

    def knows(self, attribute: int) -> bool:
        """Whether ``attribute`` can be told without another item."""
        if attribute in (LoopAttribute.LAST, LoopAttribute.NEXTITEM):
            return bool(self.ahead) or self.ended
        if attribute in (LoopAttribute.LENGTH, LoopAttribute.REVINDEX, LoopAttribute.REVINDEX0):
            return self.size is not None or self.ended
        return True

    def step(self) -> Any:
        """The next item, which is the first of `ahead`."""
        self.index0 += 1
        self.before, self.current = self.current, self.ahead.popleft()
        return self.current

    def attribute(self, attribute: int) -> Any:
        if attribute == LoopAttribute.PREVITEM:
            return Undefined("there is no previous item") if self.before is _NONE else self.before
        if attribute == LoopAttribute.NEXTITEM:
            return self.ahead[0] if self.ahead else Undefined("there is no next item")
        length = self.index0 + 1 + len(self.ahead) if self.size is None else self.size
        return {
            LoopAttribute.INDEX: self.index0 + 1,
            LoopAttribute.INDEX0: self.index0,
            LoopAttribute.REVINDEX: length - self.index0,
            LoopAttribute.REVINDEX0: length - self.index0 - 1,
            LoopAttribute.FIRST: self.index0 == 0,
            LoopAttribute.LAST: not self.ahead,
            LoopAttribute.LENGTH: length,
            LoopAttribute.DEPTH: 1,
            LoopAttribute.DEPTH0: 0,
        }[LoopAttribute(attribute)]
