"""Values of chat templates beside those of JSON, and what Jinja's sandbox makes of their attributes and items.

Walkers refuse (`WalkError`) what Python would do and tables do not promise: nothing is shown that jinja2 would not.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

LONGEST = 1 << 24  # characters of a text, and of what is written in all
MOST_ITEMS = 1 << 20  # of a list
MOST_WRITTEN = 1 << 29  # characters of all texts that a conversation makes
_INTEGERS = 1 << 63
_CHANGING: dict[type, tuple[str, ...]] = {
    list: ("append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"),
    dict: ("clear", "pop", "popitem", "setdefault", "update"),
}
VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))
_NOTHING: Any = object()
_PLAIN = (str, list, tuple, dict, range, *VIEWS, type(None))


class WalkError(Exception):
    """A conversation cannot be rendered: the message says why. ``refused``: by the template's own words."""

    def __init__(self, why: str, refused: bool = False) -> None:
        super().__init__(why)
        self.refused = refused


class Undefined:
    """What a name or an attribute means that is not there. It is empty, and false; ``why`` is for errors."""

    def __init__(self, why: str) -> None:
        self.why = why

    def __str__(self) -> str:
        return ""

    def __repr__(self) -> str:
        return "Undefined"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return id(type(self))

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[Any]:
        return iter(())


class _Hidden:
    """What has no text that is the same twice."""

    def __repr__(self) -> str:
        raise WalkError(f"a {type(self).__name__.lower()} has no text")


@dataclass(eq=False, repr=False)
class Macro(_Hidden):
    routine: int


@dataclass(eq=False, repr=False)
class Function(_Hidden):
    """One of Jinja's own: `namespace`, `range` and so on."""

    name: str


@dataclass(eq=False, repr=False)
class Method(_Hidden):
    """A method that is not called: `message['items']`, where the message has no such entry."""

    of: Any
    name: str

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Method):
            raise WalkError("two methods are compared")
        return False

    __hash__ = object.__hash__


class Namespace(_Hidden):
    def __init__(self) -> None:
        self.attributes: dict[str, Any] = {}

    def put(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise WalkError(f"a namespace cannot hold {name!r}: it begins with an underscore")
        self.attributes[name] = value


class Work:
    """What a conversation may still take."""

    def __init__(self, steps: int) -> None:
        self.steps, self.characters = steps, MOST_WRITTEN

    def step(self, count: int = 1) -> None:
        self.steps -= count
        if self.steps < 0:
            raise WalkError("the template takes too many steps")

    def text(self, length: int) -> None:
        """A text of ``length`` characters is to be made."""
        self.characters -= length
        if length > LONGEST or self.characters < 0:
            raise WalkError("the template makes texts that are too long")

    def items(self, count: int) -> None:
        """A list of ``count`` items is to be made."""
        self.text(count)
        if count > MOST_ITEMS:
            raise WalkError("the template makes lists that are too long")


def integer(value: int) -> int:
    """``value``, which must fit 64 bits."""
    if not -_INTEGERS <= value < _INTEGERS:
        raise WalkError("a whole number of more than 64 bits")
    return value


def is_number(value: Any) -> bool:
    """A number with which one may reckon."""
    return isinstance(value, float) or (isinstance(value, int) and -_INTEGERS <= value < _INTEGERS)


def text(value: Any, work: Work) -> str:
    """``value`` as it is written. Of lists and dicts that is Python's `repr`."""
    if isinstance(value, str):
        return value
    work.text(_length(value, LONGEST))
    made = str(value)
    work.text(len(made))
    return made


def _length(value: Any, most: int) -> int:
    """About the characters of ``value``: no list is written that holds one long text a million times."""
    if isinstance(value, str):
        return len(value) + 2
    if not isinstance(value, bool | int | float | list | tuple | dict | range | Undefined | _Hidden | None):
        raise WalkError(f"a {type(value).__name__} has no text")
    length = 2
    for one in _parts(value):
        length += _length(one, most - length) + 2
        if length > most:
            break
    return length


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return itertools.chain(value, value.values())
    return value if isinstance(value, list | tuple) else ()


def check_length(value: Any, work: Work) -> None:
    """That the text of ``value`` is not too long."""
    work.text(_length(value, LONGEST))


def undefined_is_used(value: Undefined) -> NoReturn:
    raise WalkError(value.why)


def attribute(value: Any, name: str) -> Any:
    """`value.name`: an attribute of Python's before an entry of a dict."""
    found = _python(value, name)
    if found is not _NOTHING:
        return found
    if isinstance(value, dict) and name in value:
        return value[name]
    return _none_such(value, name)


def item(value: Any, key: Any) -> Any:
    """`value[key]`: an entry before an attribute of Python's."""
    if isinstance(value, Undefined):
        undefined_is_used(value)
    if isinstance(value, str | list | tuple | dict | range):
        try:
            return value[key]
        except (TypeError, LookupError):
            pass
    found = _python(value, key) if isinstance(key, str) else _NOTHING
    return _none_such(value, key) if found is _NOTHING else found


def _python(value: Any, name: str) -> Any:
    """What Python has for an attribute, perhaps nothing. What the sandbox forbids is undefined."""
    if isinstance(value, Undefined):
        undefined_is_used(value)
    if isinstance(value, Namespace):
        return value.attributes.get(name, _none_such(value, name))
    if isinstance(value, Method):
        return _none_such(value, name)
    if not hasattr(type(value), name) and isinstance(value, (*_PLAIN, bool, int, float)):
        return _NOTHING
    if name.startswith("_") or name in _CHANGING.get(type(value), ()):
        return _none_such(value, name)
    if isinstance(value, _PLAIN) and callable(getattr(value, name)):
        return Method(value, name)
    raise WalkError(f"the attribute {name!r} of a {type(value).__name__}")


def _none_such(value: Any, name: Any) -> Undefined:
    return Undefined(f"a {type(value).__name__} has no {name!r:.100}")
