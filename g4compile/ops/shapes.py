"""Shape strings of ops: `[B, S, N*D]`. Letters (or words) stand for sizes, and mean one size in all operands of a node.

A size is a number, a letter, a product (`N*D`, `2I`), a quotient by a number (`R/2`) or a sum (`P+S`). `...` in front
stands for any leading sizes, broadcast together as NumPy does. `[E, 2I, H] or [E, P, blocks, 64, bytes]` names
alternatives of different rank.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

Size = int | str | None  # a number, the name of a dynamic size, or unknown
Shape = tuple[Size, ...]
_LEADING = "..."
_FACTOR = re.compile(r"\d+|[A-Za-z_]+")


@dataclass(frozen=True)
class Term:
    """``factors`` times ``number``, divided by ``divisor``."""

    number: int
    factors: tuple[str, ...]
    divisor: int


Expression = tuple[Term, ...]  # a sum


@dataclass(frozen=True)
class Alternative:
    """One shape that an operand may have: ``leading`` sizes of any number, then ``sizes``."""

    leading: bool
    sizes: tuple[Expression, ...]

    def takes(self, rank: int) -> bool:
        return rank >= len(self.sizes) if self.leading else rank == len(self.sizes)


@lru_cache
def alternatives_of(text: str) -> tuple[Alternative, ...]:
    """The alternatives that a shape string names."""
    return tuple(_alternative(part.strip()) for part in text.split(" or "))


def axis_of(text: str, letter: str, rank: int) -> int | None:
    """The axis, counted from the end, whose size is ``letter`` alone in an operand of ``rank``."""
    chosen = next((chosen for chosen in alternatives_of(text) if chosen.takes(rank)), None)
    places = [] if chosen is None else [at for at, size in enumerate(chosen.sizes) if size == (Term(1, (letter,), 1),)]
    return places[0] - len(chosen.sizes) if chosen is not None and places else None


def leading_axes(text: str, rank: int) -> range:
    """The axes, counted from the end, that `...` stands for in an operand of ``rank``."""
    chosen = next((chosen for chosen in alternatives_of(text) if chosen.takes(rank)), None)
    return range(-rank, -len(chosen.sizes)) if chosen is not None and chosen.leading else range(0)


@dataclass
class Unifier:
    """What letters stand for, as far as the operands of a node say. ``sizes`` begins with what attributes say."""

    sizes: dict[str, Size] = field(default_factory=dict)
    leading: Shape = ()

    def unify(self, operands: Iterable[tuple[str, str, Shape]]) -> str:
        """Read (name, shape string, shape) of each operand; what does not fit, in words, or nothing."""
        found = list(operands)
        compound: list[tuple[str, Expression, Size]] = []
        for name, text, shape in found:
            chosen = next((chosen for chosen in alternatives_of(text) if chosen.takes(len(shape))), None)
            if chosen is None:
                return f"{name} has the shape {_show(shape)}, and must be {text}"
            split = len(shape) - len(chosen.sizes)
            if chosen.leading and not self._broadcast(shape[:split]):
                return f"the leading sizes {_show(shape[:split])} of {name} do not go with {_show(self.leading)}"
            for expression, size in zip(chosen.sizes, shape[split:], strict=True):
                if not _is_letter(expression):
                    compound.append((name, expression, size))
                elif not self._bind(expression[0].factors[0], size):
                    letter = expression[0].factors[0]
                    return f"{letter} is {size} in {name} and {self.sizes[letter]} elsewhere"
        for name, expression, size in compound:
            if not self._solve(expression, size):
                return f"the size of {name} is {size}, and must be {_text(expression)}"
            value = self.size(expression)
            if isinstance(value, int) and isinstance(size, int) and value != size:
                return f"{_text(expression)} is {value}, the size of {name} is {size}"
        return ""

    def shape(self, text: str) -> Shape:
        """The shape that a shape string names."""
        chosen = alternatives_of(text)[0]
        return (*(self.leading if chosen.leading else ()), *(self.size(one) for one in chosen.sizes))

    def size(self, expression: Expression) -> Size:
        """The value of an expression; of sums of names the sum in words, of other unknowns None."""
        terms = [self._term(term) for term in expression]
        if len(terms) == 1 or None in terms:
            return terms[0] if len(terms) == 1 else None
        numbers = [term for term in terms if isinstance(term, int)]
        return sum(numbers) if len(numbers) == len(terms) else " + ".join(map(str, terms))

    def _term(self, term: Term) -> Size:
        values = [self.sizes.get(factor) for factor in term.factors]
        if len(values) == 1 and term.number == term.divisor == 1:
            return values[0]
        product = term.number
        for value in values:
            if not isinstance(value, int):
                return None
            product *= value
        return product // term.divisor

    def _bind(self, letter: str, size: Size) -> bool:
        if size is None:
            return True
        if self.sizes.get(letter) is None:
            self.sizes[letter] = size
        return self.sizes[letter] == size

    def _solve(self, expression: Expression, size: Size) -> bool:
        """Find the one letter of a product that is not known yet; False when what is known does not divide ``size``."""
        if len(expression) != 1 or not isinstance(size, int):
            return True
        (term,) = expression
        unknown = [factor for factor in term.factors if not isinstance(self.sizes.get(factor), int)]
        known = term.number
        for factor in term.factors:
            value = self.sizes.get(factor)
            known *= value if isinstance(value, int) else 1
        if len(unknown) == 1 and self.sizes.get(unknown[0]) is None:
            if known == 0:
                return size == 0
            found, rest = divmod(size * term.divisor, known)
            if rest:
                return False
            self.sizes[unknown[0]] = found
        return True

    def _broadcast(self, other: Shape) -> bool:
        count = max(len(other), len(self.leading))
        pairs = zip(*(((1,) * (count - len(one)) + one) for one in (self.leading, other)), strict=True)
        joined: list[Size] = []
        for left, right in pairs:
            if left not in (1, None) and right not in (1, None) and left != right:
                return False
            joined.append(right if left in (1, None) and right is not None else left)
        self.leading = tuple(joined)
        return True


@lru_cache(maxsize=4096)
def misfit(sizes: tuple[tuple[str, int], ...], operands: tuple[tuple[str, str, Shape], ...]) -> str:
    """As `Unifier.unify`, from what attributes say. Layers repeat their shapes, and a check follows every pass: what
    was found for such operands is kept."""
    return Unifier(dict(sizes)).unify(operands)


def _alternative(text: str) -> Alternative:
    words = [word.strip() for word in text.strip("[]").split(",") if word.strip()]
    leading = words[:1] == [_LEADING]
    return Alternative(leading, tuple(tuple(_term(part) for part in word.split("+")) for word in words[leading:]))


def _term(text: str) -> Term:
    product, _, divisor = text.partition("/")
    number, letters = 1, []
    for word in _FACTOR.findall(product):
        if word.isdigit():
            number *= int(word)
        else:
            letters.append(word)
    return Term(number, tuple(letters), int(divisor or 1))


def _is_letter(expression: Expression) -> bool:
    return (
        len(expression) == 1 and expression[0].number == expression[0].divisor == 1 and len(expression[0].factors) == 1
    )


def _text(expression: Expression) -> str:
    return "+".join(
        "*".join([*([str(term.number)] if term.number != 1 or not term.factors else []), *term.factors])
        + (f"/{term.divisor}" if term.divisor != 1 else "")
        for term in expression
    )


def _show(shape: Shape) -> str:
    return f"[{', '.join('?' if size is None else str(size) for size in shape)}]"
