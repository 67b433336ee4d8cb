"""What a field of a config may hold: a type, a range and a default, as one value. A table of them describes an object.

`schema.py` has the tables. A value that does not fit is one error: which field, what it holds, what it may hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from g4compile.errors import InputError
from g4compile.inputs.documents import shown

_REQUIRED: Any = object()


@dataclass(frozen=True)
class Field:
    """``wanted`` says what ``fits``: `an integer from 1 to 64`. A field without a ``default`` must be there."""

    wanted: str
    fits: Callable[[Any], bool]
    default: Any = _REQUIRED

    def or_null(self, default: Any = None) -> Field:
        """The same, or null."""
        fits = self.fits
        return Field(f"{self.wanted} or null", lambda value: value is None or fits(value), default)

    def otherwise(self, default: Any) -> Field:
        """The same, ``default`` where it is left out."""
        return replace(self, default=default)


Table = Mapping[str, Field]


def integer(low: int, high: int, step: int = 1) -> Field:
    """A whole number, a multiple of ``step``; 2.0 and true are none."""
    kind = "an integer" if step == 1 else f"a multiple of {step}"
    return Field(
        f"{kind} from {low:,} to {high:,}",
        lambda value: type(value) is int and low <= value <= high and value % step == 0,
    )


def number(low: float, high: float) -> Field:
    """A number; NaN and infinity are outside every range."""
    return Field(
        f"a number from {low:g} to {high:g}", lambda value: type(value) in (int, float) and low <= value <= high
    )


def flag() -> Field:
    return Field("true or false", lambda value: isinstance(value, bool))


def exactly(wanted: Any) -> Field:
    """One value, which is the default too: of a field with which transformers makes another model."""
    said = f"{str(wanted).lower()}: g4compile reads no other"
    return Field(said, lambda value: type(value) is type(wanted) and value == wanted, wanted)


def word(*known: str) -> Field:
    return Field(" or ".join(known), lambda value: isinstance(value, str) and value in known)


def record() -> Field:
    """An object, whose own fields have a table of their own."""
    return Field("an object", lambda value: isinstance(value, Mapping))


def array(of: Field, least: int, most: int) -> Field:
    """A list of ``least`` to ``most`` values that each fit ``of``."""
    return Field(
        f"a list of {least} to {most:,}, each {of.wanted}",
        lambda value: isinstance(value, list | tuple) and least <= len(value) <= most and all(map(of.fits, value)),
    )


def either(one: Field, other: Field) -> Field:
    return Field(f"{one.wanted}, or {other.wanted}", lambda value: one.fits(value) or other.fits(value))


def read_fields(raw: Mapping[str, Any], table: Table, where: str, path: str = "") -> dict[str, Any]:
    """The value of every field of ``table`` in ``raw``, the object at ``path`` of the file ``where``.

    Raises InputError for the first field that is missing or does not fit: its path, its value, and what it may hold.
    """
    values = {}
    for name, field in table.items():
        place = f"{path}.{name}" if path else name
        if name not in raw and field.default is _REQUIRED:
            raise InputError(f"config field {place} is missing", where=where, fix=f"it must be {field.wanted}")
        value = values[name] = raw.get(name, field.default)
        if name in raw and not field.fits(value):
            raise misfit(place, value, field.wanted, where)
    return values


def misfit(place: str, value: Any, wanted: str, where: str, why: str = "") -> InputError:
    """The error for a field at ``place`` that holds ``value`` and must be ``wanted``."""
    return InputError(f"config field {place} must be {wanted}, found {shown(value)}", where=where, why=why)
