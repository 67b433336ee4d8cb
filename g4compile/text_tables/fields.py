"""Values of tokenizer.json, each of the type that the `tokenizers` library reads it as, or NoTable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from g4compile.inputs.documents import shown
from g4compile.text_tables.no_table import NoTable


def mapping(value: object, where: str) -> Mapping[str, Any]:
    """``value`` as an object. ``where``: of the field, in words."""
    if not isinstance(value, dict):
        raise NoTable(f"{where} is {shown(value)}, and must be an object")
    return value


def sequence(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise NoTable(f"{where} is {shown(value)}, and must be a list")
    return value


def string(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise NoTable(f"{where} is {shown(value)}, and must be a string")
    return value


def flag(owner: Mapping[str, Any], name: str, where: str) -> bool:
    """The field ``name`` of ``owner``: true or false; null and an absent one are false."""
    value = owner.get(name)
    if value is not None and not isinstance(value, bool):
        raise NoTable(f"{name} of {where} is {shown(value)}, and must be true or false")
    return bool(value)


def only(owner: Mapping[str, Any], name: str, allowed: tuple[object, ...], where: str) -> None:
    """Refuse any value but those of ``allowed``. An absent field is null."""
    value = owner.get(name)
    if not any(type(value) is type(one) and value == one for one in allowed):
        raise NoTable(f"{name} of {where} is {shown(value)}")


def kind_of(value: object, where: str) -> tuple[str, Mapping[str, Any]]:
    """Type and fields of a step of the tokenizer, as its normalizer."""
    fields = mapping(value, where)
    return string(fields.get("type"), f"the type of {where}"), fields


def literal(fields: Mapping[str, Any], where: str) -> str:
    """The pattern of a step that is plain text, not empty."""
    pattern = mapping(fields.get("pattern"), f"the pattern of {where}")
    if set(pattern) != {"String"}:
        raise NoTable(f"the pattern of {where} is {shown(pattern)}, and only plain text is known there")
    text = string(pattern["String"], f"the pattern of {where}")
    if not text:
        raise NoTable(f"the pattern of {where} is empty")
    return text
