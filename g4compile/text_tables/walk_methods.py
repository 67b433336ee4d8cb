"""Methods of texts, lists and dicts that chat templates call, and Jinja's own functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from g4compile.text_tables.chat_code import METHODS
from g4compile.text_tables.walk_filters import iterate, replaced, trimmed
from g4compile.text_tables.walk_values import (
    MOST_ITEMS,
    Namespace,
    Undefined,
    WalkError,
    Work,
    integer,
    text,
    undefined_is_used,
)

_LONGEST_RANGE = 100_000  # of Jinja's sandbox
_NAMES = {signature.number: name for name, signature in METHODS.items()}
_OF_DICTS = ("get", "items", "keys", "values")


def called(number: int, value: Any, arguments: Sequence[Any], work: Work) -> Any:
    """What the method ``number`` of ``value`` gives."""
    name = _NAMES[number]
    if isinstance(value, Undefined):
        undefined_is_used(value)
    if name in _OF_DICTS:
        if not isinstance(value, dict):
            raise _no_method(name, value)
        return _of_dict(name, value, arguments)
    if not isinstance(value, str):
        raise _no_method(name, value)
    return _OF_TEXTS[name](work, value, *arguments)


def _no_method(name: str, value: Any) -> WalkError:
    return WalkError(f"a {type(value).__name__} has no method {name!r} in chat tables")


def _of_dict(name: str, value: dict[Any, Any], arguments: Sequence[Any]) -> Any:
    if name != "get":
        return getattr(value, name)()
    try:
        return value.get(*arguments)
    except TypeError as error:
        raise WalkError("a list or a dict is no key of a dict") from error


def _texts(name: str, *values: Any) -> None:
    for one in values:
        if isinstance(one, Undefined):
            undefined_is_used(one)
        if not isinstance(one, str):
            raise WalkError(f"an argument of `{name}` is no text")


def _ends(name: str) -> Callable[[Work, str, Any], bool]:
    def ends(work: Work, value: str, given: Any) -> bool:
        for one in given if isinstance(given, tuple) else (given,):
            _texts(name, one)
            if getattr(value, name)(one):
                return True
        return False

    return ends


def _with_text(name: str) -> Callable[[Work, str, Any], Any]:
    def ask(work: Work, value: str, given: Any) -> Any:
        _texts(name, given)
        work.step(1 + len(value) // 64)
        return getattr(value, name)(given)

    return ask


def _changed(change: Callable[[str], str]) -> Callable[[Work, str], str]:
    def made(work: Work, value: str) -> str:
        found = change(value)
        work.text(len(found))
        return found

    return made


def _split(name: str) -> Callable[[Work, str, Any, Any], list[str]]:
    def split(work: Work, value: str, separator: Any, most: Any) -> list[str]:
        if separator is not None:
            _texts(name, separator)
        if separator == "":
            raise WalkError(f"`{name}` by a text that is empty")
        if not isinstance(most, int):
            raise WalkError(f"`{name}` takes a whole number of splits")
        work.text(len(value))
        found: list[str] = getattr(value, name)(separator, min(most, MOST_ITEMS) if most >= 0 else MOST_ITEMS)
        work.items(len(found))
        return found

    return split


def _join(work: Work, value: str, given: Any) -> str:
    pieces = []
    for one in iterate(given, work):
        _texts("join", one)
        pieces.append(one)
        work.text(len(one) + len(value))
    made = value.join(pieces)
    work.text(len(made))
    return made


def _replace(work: Work, value: str, old: Any, new: Any, count: Any) -> str:
    _texts("replace", old, new)
    if count is None:
        raise WalkError("`replace` takes a whole number of times")
    return replaced(work, value, old, new, count)


_OF_TEXTS: dict[str, Callable[..., Any]] = {
    "capitalize": _changed(str.capitalize),
    "count": _with_text("count"),
    "endswith": _ends("endswith"),
    "find": _with_text("find"),
    "join": _join,
    "lower": _changed(str.lower),
    "lstrip": lambda work, value, chars: trimmed(work, value, chars, "left"),
    "removeprefix": _with_text("removeprefix"),
    "removesuffix": _with_text("removesuffix"),
    "replace": _replace,
    "rfind": _with_text("rfind"),
    "rsplit": _split("rsplit"),
    "rstrip": lambda work, value, chars: trimmed(work, value, chars, "right"),
    "split": _split("split"),
    "startswith": _ends("startswith"),
    "strip": trimmed,
    "upper": _changed(str.upper),
}


def function(name: str, given: Sequence[Any], named: Mapping[str, Any], work: Work) -> Any:
    """What one of Jinja's own functions gives."""
    if name == "raise_exception":
        if len(given) + len(named) != 1 or (named and "message" not in named):
            raise WalkError("`raise_exception` takes one text")
        raise WalkError(text([*given, *named.values()][0], work), refused=True)
    if name == "range":
        return _range(given, named)
    pairs = _pairs(name, given, named)
    if name == "dict":
        return pairs
    made = Namespace()
    for key, value in pairs.items():
        made.put(key, value)
    return made


def _pairs(name: str, given: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
    if len(given) > 1 or not all(isinstance(one, dict) for one in given):
        raise WalkError(f"`{name}` takes one dict, and named values")
    return {**(given[0] if given else {}), **named}


def _range(given: Sequence[Any], named: Mapping[str, Any]) -> range:
    if named or not 1 <= len(given) <= 3 or not all(isinstance(one, int) for one in given):
        raise WalkError("`range` takes one to three whole numbers")
    for one in given:
        integer(one)
    if len(given) == 3 and given[2] == 0:
        raise WalkError("`range` with steps of 0")
    made = range(*given)
    start, stop, step = made.start, made.stop, made.step
    if max(0, (stop - start + step - (1 if step > 0 else -1)) // step) > _LONGEST_RANGE:
        raise WalkError(f"`range` of more than {_LONGEST_RANGE:,} numbers")
    return made
