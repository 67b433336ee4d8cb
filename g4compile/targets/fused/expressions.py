"""Expressions of plans: a sum of terms `a*b*c/n`, the quotient rounded up; a factor is a number or a word, such as `r`
or `i0.1` (`docs/design/0010-onnx-cuda.md`)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any


def ceiling(value: Any, over: int) -> Any:
    """``value / over``, rounded up."""
    return -(-value // over)


def evaluated(expression: str, size: Callable[[str], Any], divide: Callable[[Any, int], Any] = ceiling) -> Any:
    """The value of ``expression``. ``size`` gives that of a word: an integer, or a symbol that can be multiplied by
    one and added to one, which ``divide`` divides and rounds up."""
    total: Any = 0
    for term in expression.split("+"):
        product, _, over = term.partition("/")
        values = [int(word) if word.isdigit() else size(word) for word in product.split("*")]
        number = math.prod(value for value in values if isinstance(value, int))
        symbols = [value for value in values if not isinstance(value, int)]
        found: Any = number
        if symbols:  # symbols stand first: a number knows no product with them
            found = symbols[0]
            for value in symbols[1:]:
                found = found * value
            found = found * number if number != 1 else found
        if over:
            found = ceiling(found, int(over)) if isinstance(found, int) else divide(found, int(over))
        total = found if isinstance(total, int) and total == 0 else _sum(total, found)
    return total


def _sum(first: Any, second: Any) -> Any:
    return second + first if isinstance(first, int) and not isinstance(second, int) else first + second
