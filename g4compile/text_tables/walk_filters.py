"""Filters and tests of chat templates, as Jinja has them (its `filters.py` and `tests.py`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from g4compile.text_tables.chat_code import FILTERS, TESTS, TRUTH
from g4compile.text_tables.walk_operators import contains, equal, less, less_or_equal
from g4compile.text_tables.walk_values import (
    VIEWS,
    Macro,
    Method,
    Namespace,
    Undefined,
    WalkError,
    Work,
    check_length,
    integer,
    is_number,
    item,
    text,
    undefined_is_used,
)

_NO_ITEMS = (Macro, Method, Namespace, int, float, type(None))


def iterate(value: Any, work: Work) -> Iterator[Any]:
    """The items of ``value``, each of which takes a step."""
    try:
        items = iter(value)
    except TypeError:
        raise WalkError(f"the items of a {type(value).__name__}") from None
    return _counted(items, work)


def _counted(items: Iterator[Any], work: Work) -> Iterator[Any]:
    for one in items:
        work.step()
        yield one


def listed(value: Any, work: Work) -> list[Any]:
    """All items of ``value``."""
    found = []
    for one in iterate(value, work):
        found.append(one)
        work.items(1)
        if len(found) > 1 << 20:
            work.items(len(found))
    return found


def filtered(number: int, value: Any, arguments: Sequence[Any], work: Work) -> Any:
    """The filter ``number`` of ``value``."""
    return _FILTERS[number](work, value, *arguments)


def tested(number: int, value: Any, arguments: Sequence[Any]) -> bool:
    """Whether the test ``number`` holds for ``value``."""
    return bool(value) if number == TRUTH else bool(_TESTS[number](value, *arguments))


def mapped(number: int, values: Any, arguments: Sequence[Any], work: Work) -> Iterator[Any]:
    """The filter ``number`` of each of ``values``, as it is asked for."""
    if values:
        for one in iterate(values, work):
            yield filtered(number, one, arguments, work)


def attributes(values: Any, path: Sequence[Any], default: Any, work: Work) -> Iterator[Any]:
    """What ``path`` leads to in each of ``values``."""
    if values:
        for one in iterate(values, work):
            yield _led(one, path, default)


def selected(number: int, flags: int, values: Any, arguments: Sequence[Any], work: Work) -> Iterator[Any]:
    """Those of ``values`` for which the test holds; ``flags`` & 1: does not; & 2: of what a path leads to."""
    path, others = (arguments[0], arguments[1:]) if flags & 2 else ((), arguments)
    if values:
        for one in iterate(values, work):
            if tested(number, _led(one, path, None), others) != bool(flags & 1):
                yield one


def _led(value: Any, path: Sequence[Any], default: Any) -> Any:
    for one in path:
        value = item(value, one)
        if default is not None and isinstance(value, Undefined):
            value = default
    return value


def _made(work: Work, made: str) -> str:
    work.text(len(made))
    return made


def _default(work: Work, value: Any, other: Any, boolean: Any) -> Any:
    return other if isinstance(value, Undefined) or (boolean and not value) else value


def _dictsort(work: Work, value: Any, case_sensitive: Any, by: Any, reverse: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, Undefined):
        undefined_is_used(value)
    if not isinstance(value, dict) or by not in ("key", "value"):
        raise WalkError("`dictsort` sorts a dict by `key` or by `value`")
    if not isinstance(reverse, int):
        raise WalkError("`reverse` of `dictsort` is no boolean")
    work.step(len(value))

    def key(pair: tuple[Any, Any]) -> Any:
        found = pair[by == "value"]
        return found.lower() if isinstance(found, str) and not case_sensitive else found

    try:
        return sorted(value.items(), key=key, reverse=bool(reverse))
    except TypeError as error:
        raise WalkError("`dictsort` by values that have no order") from error


def _first(work: Work, value: Any) -> Any:
    return next(iterate(value, work), Undefined("`first` of what is empty"))


def _last(work: Work, value: Any) -> Any:
    if not isinstance(value, (str, list, tuple, dict, range, Undefined, *VIEWS)):
        raise WalkError(f"`last` of a {type(value).__name__}")
    known: Any = () if isinstance(value, Undefined) else value
    return next(reversed(known), Undefined("`last` of what is empty"))


def _items(work: Work, value: Any) -> Iterator[Any]:
    if not isinstance(value, Undefined):
        if not isinstance(value, dict):
            raise WalkError(f"`items` of a {type(value).__name__}")
        yield from iterate(value.items(), work)


def joined(work: Work, value: Any, between: Any, path: Any = None) -> str:
    """`join`: the texts of all items."""
    middle, pieces = text(between, work), []
    for one in iterate(value, work) if path is None else attributes(list(iterate(value, work)), path, None, work):
        pieces.append(text(one, work))
        work.text(len(pieces[-1]) + len(middle))
    return _made(work, middle.join(pieces))


def _length(work: Work, value: Any) -> int:
    try:
        return len(value)
    except TypeError:
        raise WalkError(f"`length` of a {type(value).__name__}") from None


def replaced(work: Work, value: str, old: str, new: str, count: Any) -> str:
    """`replace`: ``count`` times, or always where it is None or below 0."""
    if count is not None and not isinstance(count, int):
        raise WalkError("`replace` takes a whole number of times")
    times = value.count(old) if count is None or count < 0 else min(value.count(old), count)
    work.text(len(value) + times * max(0, len(new) - len(old)))
    return value.replace(old, new, -1 if count is None else max(-1, min(count, 1 << 62)))


def _to_json(work: Work, value: Any, ascii_only: Any, indent: Any, separators: Any, sort_keys: Any) -> str:
    check_length(value, work)
    if indent is not None and (type(indent) is not int or not 0 <= indent <= 16):
        raise WalkError("`indent` of `tojson` is a whole number from 0 to 16")
    if separators is not None and not (
        isinstance(separators, list | tuple)
        and len(separators) == 2
        and all(isinstance(one, str) for one in separators)
    ):
        raise WalkError("`separators` of `tojson` are two texts")
    try:
        given: Any = separators
        made = json.dumps(
            value, ensure_ascii=bool(ascii_only), indent=indent, separators=given, sort_keys=bool(sort_keys)
        )
    except (TypeError, ValueError) as error:
        raise WalkError("`tojson` of what JSON does not have") from error
    return _made(work, made)


def trimmed(work: Work, value: str, chars: Any, sides: str = "both") -> str:
    """`trim` and `strip`: without white space, or ``chars``, at the ``sides``."""
    if chars is not None and not isinstance(chars, str):
        raise WalkError("the characters that are stripped are no text")
    strip = {"both": value.strip, "left": value.lstrip, "right": value.rstrip}[sides]
    return _made(work, strip(chars))


_BY_NAME: dict[str, Callable[..., Any]] = {
    "capitalize": lambda work, value: _made(work, text(value, work).capitalize()),
    "default": _default,
    "dictsort": _dictsort,
    "first": _first,
    "items": _items,
    "join": joined,
    "last": _last,
    "length": _length,
    "list": lambda work, value: listed(value, work),
    "lower": lambda work, value: _made(work, text(value, work).lower()),
    "replace": lambda work, value, old, new, count: replaced(
        work, text(value, work), text(old, work), text(new, work), count
    ),
    "string": lambda work, value: text(value, work),
    "tojson": _to_json,
    "trim": lambda work, value, chars: trimmed(work, text(value, work), chars),
    "upper": lambda work, value: _made(work, text(value, work).upper()),
}
_FILTERS = {FILTERS[name].number: made for name, made in _BY_NAME.items()}


def _remainder(value: Any, by: Any) -> int:
    if not is_number(value) or not is_number(by) or isinstance(value, float) or isinstance(by, float) or by == 0:
        raise WalkError("a test for a divisor of what is no whole number")
    return integer(value % by)


def _is_sequence(value: Any) -> bool:
    return isinstance(value, str | list | tuple | dict | range | Undefined)


_TEST_NAMES: dict[str, Callable[..., bool]] = {
    "boolean": lambda value: isinstance(value, bool),
    "defined": lambda value: not isinstance(value, Undefined),
    "divisibleby": lambda value, by: _remainder(value, by) == 0,
    "eq": equal,
    "even": lambda value: _remainder(value, 2) == 0,
    "false": lambda value: value is False,
    "float": lambda value: isinstance(value, float),
    "ge": lambda value, other: less_or_equal(other, value),
    "gt": lambda value, other: less(other, value),
    "in": contains,
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "iterable": lambda value: _is_sequence(value) or isinstance(value, (*VIEWS, Iterator)),
    "le": less_or_equal,
    "lt": less,
    "mapping": lambda value: isinstance(value, dict),
    "ne": lambda value, other: not equal(value, other),
    "none": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float),
    "odd": lambda value: _remainder(value, 2) == 1,
    "sequence": _is_sequence,
    "string": lambda value: isinstance(value, str),
    "true": lambda value: value is True,
    "undefined": lambda value: isinstance(value, Undefined),
}
_TESTS = {TESTS[name].number: made for name, made in _TEST_NAMES.items()}
