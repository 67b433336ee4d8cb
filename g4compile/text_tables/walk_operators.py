"""Operators of chat templates, as Python has them."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from g4compile.text_tables.chat_code import Binary, Compare, Unary
from g4compile.text_tables.walk_values import VIEWS, Undefined, WalkError, Work, integer, is_number, undefined_is_used

_EXACT = 1 << 53  # whole numbers up to here divide as floats do


def unary(kind: int, value: Any) -> Any:
    if kind == Unary.NOT:
        return not value
    if not is_number(value):
        raise _wrong("a sign in front of", value)
    made = -value if kind == Unary.NEGATIVE else +value
    return made if isinstance(made, float) else integer(made)


def binary(kind: int, left: Any, right: Any, work: Work) -> Any:
    if is_number(left) and is_number(right):
        made = _numbers(kind, left, right)
        return made if isinstance(made, float) else integer(made)
    if kind == Binary.ADD:
        return _add(left, right, work)
    if kind == Binary.MUL:
        for many, times in ((left, right), (right, left)):
            if isinstance(many, str | list | tuple) and isinstance(times, int):
                work.text(len(many) * max(times, 0)) if isinstance(many, str) else work.items(len(many) * max(times, 0))
                return many * times
    raise _wrong(f"the operator {Binary(kind).name}", left, right)


def _numbers(kind: int, left: int | float, right: int | float) -> int | float:
    if kind in (Binary.DIV, Binary.FLOORDIV, Binary.MOD) and right == 0:
        raise WalkError("a division by 0")
    if kind == Binary.ADD:
        return left + right
    if kind == Binary.SUB:
        return left - right
    if kind == Binary.MUL:
        return left * right
    whole = isinstance(left, int) and isinstance(right, int)
    if kind == Binary.DIV:
        if whole and max(abs(left), abs(right)) > _EXACT:
            raise WalkError("a division of whole numbers of more than 53 bits")
        return left / right
    if not whole:
        raise WalkError("a remainder, or a division that rounds down, of a number that is not whole")
    return left // right if kind == Binary.FLOORDIV else left % right


def _add(left: Any, right: Any, work: Work) -> Any:
    for kind in (str, list, tuple):
        if isinstance(left, kind) and isinstance(right, kind):
            (work.text if kind is str else work.items)(len(left) + len(right))
            return operator.add(left, right)
    raise _wrong("the operator +", left, right)


def compare(kind: int, left: Any, right: Any) -> bool:
    return _COMPARE[kind](left, right)


def equal(left: Any, right: Any) -> bool:
    if isinstance(left, VIEWS) and isinstance(right, VIEWS):
        raise WalkError("two views of dicts are compared")
    return bool(left == right)


def contains(left: Any, right: Any) -> bool:
    try:
        return left in right
    except TypeError as error:
        raise _wrong("the operator `in`", left, right) from error


def less(left: Any, right: Any) -> bool:
    return _order(left, right, lambda: left < right)


def less_or_equal(left: Any, right: Any) -> bool:
    return _order(left, right, lambda: left <= right)


def _order(left: Any, right: Any, ask: Callable[[], bool]) -> bool:
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Undefined):
            undefined_is_used(one)
        if isinstance(one, float) and isinstance(other, int) and not is_number(other):
            raise WalkError("a whole number of more than 64 bits is compared with one that is not whole")
    if isinstance(left, VIEWS) or isinstance(right, VIEWS):
        raise WalkError("views of dicts have no order")
    try:
        return ask()
    except TypeError as error:
        raise _wrong("a comparison", left, right) from error


_COMPARE: dict[int, Callable[[Any, Any], bool]] = {
    Compare.EQ: equal,
    Compare.NE: lambda left, right: not equal(left, right),
    Compare.LT: less,
    Compare.LE: less_or_equal,
    Compare.GT: lambda left, right: less(right, left),
    Compare.GE: lambda left, right: less_or_equal(right, left),
    Compare.IN: contains,
    Compare.NOT_IN: lambda left, right: not contains(left, right),
}


def part(value: Any, start: Any, stop: Any, step: Any, work: Work) -> Any:
    """`value[start:stop:step]`."""
    if isinstance(value, Undefined):
        undefined_is_used(value)
    if not isinstance(value, str | list | tuple):
        raise _wrong("a slice", value)
    for one in (start, stop, step):
        if one is not None and not isinstance(one, int):
            raise WalkError("a slice takes whole numbers")
    if step is not None and step == 0:
        raise WalkError("a slice with steps of 0")
    work.text(len(value))
    return value[start:stop:step]


def _wrong(what: str, *values: Any) -> WalkError:
    for one in values:
        if isinstance(one, Undefined):
            return WalkError(one.why)
    return WalkError(f"{what} of {' and '.join(type(one).__name__ for one in values)}")
