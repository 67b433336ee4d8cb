"""Matching a dataflow pattern against a graph, with a reason when it does not match.

A pattern is a tree of `Node`s over `Any_` leaves, matched from an output value towards its inputs:

    Node("Mul", Any_("x"), Node("Sqrt", Any_("x")))

A leaf name bound twice must be the same value. `Mul` and `Add` match in either order. Matching keeps no state
between sites. A failed match returns the `Miss` that got furthest: how many nodes matched, and what was wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir

from g4compile.graph.edit import constant_array
from g4compile.graph.stage import describe, op_name

_COMMUTATIVE = {"Add", "Mul"}


class Named(Protocol):
    """A class of an op, which says its name."""

    @classmethod
    def name(cls) -> str: ...


@dataclass(frozen=True)
class Any_:
    """Any value, bound to ``name``."""

    name: str


@dataclass(frozen=True)
class Number:
    """A constant scalar: equal to ``value`` when given, else bound to ``name`` as a float."""

    name: str = ""
    value: float | None = None


@dataclass(frozen=True)
class Ints:
    """A constant list of integers: equal to ``value`` when given, else bound to ``name`` as a tuple."""

    name: str = ""
    value: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Node:
    """A node of type ``op`` (`Add`, or an op of ours by its class); ``name`` binds the node, ``value`` the value it
    is matched at."""

    op: str
    inputs: tuple[Pattern, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    value: str = ""

    def __init__(
        self, op: str | type[Named], *inputs: Pattern, name: str = "", value: str = "", **attributes: Any
    ) -> None:
        for field_name, item in (
            ("op", op if isinstance(op, str) else op.name()),
            ("inputs", inputs),
            ("attributes", attributes),
            ("name", name),
            ("value", value),
        ):
            object.__setattr__(self, field_name, item)


@dataclass(frozen=True)
class Skip:
    """An optional node of type ``op`` around ``inner``: matched through when it is there."""

    op: str
    inner: Pattern


Pattern = Any_ | Number | Ints | Node | Skip
Bindings = dict[str, Any]


@dataclass(frozen=True)
class Miss:
    """Why a site did not match: ``depth`` nodes matched before ``reason`` stopped it."""

    depth: int
    reason: str


def match(pattern: Pattern, value: ir.Value) -> Bindings | Miss:
    """Match ``pattern`` at ``value``. Nodes given a ``name`` are bound as nodes, leaves as values."""
    bindings: Bindings = {}
    miss = _match(pattern, value, bindings, 0)
    return bindings if miss is None else miss


def _match(pattern: Pattern, value: ir.Value | None, bindings: Bindings, depth: int) -> Miss | None:
    if value is None:
        return Miss(depth, f"an operand is absent where {_show(pattern)} was expected")
    if isinstance(pattern, Any_):
        return _bind(pattern.name, value, bindings, depth)
    if isinstance(pattern, (Number, Ints)):
        return _constant(pattern, value, bindings, depth)
    node = value.producer()
    if isinstance(pattern, Skip):
        inner = node.inputs[0] if node is not None and op_name(node) == pattern.op else value
        return _match(pattern.inner, inner, bindings, depth)
    if node is None or op_name(node) != pattern.op:
        found = f"value {value.name}" if node is None else describe(node)
        return Miss(depth, f"expected {pattern.op}, found {found}")
    for key, expected in pattern.attributes.items():
        actual = node.attributes[key].value if key in node.attributes else None
        if actual != expected and (not isinstance(actual, (list, tuple)) or tuple(actual) != tuple(expected)):
            return Miss(depth, f"{describe(node)} has {key} = {actual}, expected {expected}")
    if len(node.inputs) != len(pattern.inputs):
        return Miss(depth, f"{describe(node)} has {len(node.inputs)} operands, expected {len(pattern.inputs)}")
    miss = _bind(pattern.value, value, bindings, depth) or _operands(pattern, node, bindings, depth + 1)
    return miss if miss is not None else _bind(pattern.name, node, bindings, depth)


def _operands(pattern: Node, node: ir.Node, bindings: Bindings, depth: int) -> Miss | None:
    orders = [tuple(node.inputs)]
    if pattern.op in _COMMUTATIVE:
        orders.append(tuple(reversed(node.inputs)))
    worst: Miss | None = None
    for order in orders:
        trial = dict(bindings)
        miss = None
        for inner, operand in zip(pattern.inputs, order, strict=True):
            miss = _match(inner, operand, trial, depth)
            if miss is not None:
                break
        if miss is None:
            bindings.update(trial)
            return None
        worst = miss if worst is None or miss.depth > worst.depth else worst
    return worst


def _bind(name: str, item: Any, bindings: Bindings, depth: int) -> Miss | None:
    if name and bindings.setdefault(name, item) is not item:
        here, elsewhere = (getattr(one, "name", one) for one in (item, bindings[name]))
        return Miss(depth, f"{name} is {here} here and {elsewhere} elsewhere")
    return None


def _constant(pattern: Number | Ints, value: ir.Value, bindings: Bindings, depth: int) -> Miss | None:
    array = constant_array(value)
    if array is None:
        return Miss(depth, f"expected a constant, found value {value.name}")
    found: float | tuple[int, ...]
    if isinstance(pattern, Number):
        if array.size != 1:
            return Miss(depth, f"expected a scalar, found a constant of shape {array.shape}")
        found = float(array.reshape(()))
        equal = pattern.value is None or bool(np.isclose(found, pattern.value, rtol=1e-6, atol=0))
    else:
        found = tuple(int(item) for item in array.ravel())
        equal = pattern.value is None or found == pattern.value
    if not equal:
        return Miss(depth, f"expected the constant {pattern.value}, found {found}")
    if pattern.name:
        if pattern.name in bindings and bindings[pattern.name] != found:
            return Miss(depth, f"{pattern.name} is {found} here and {bindings[pattern.name]} elsewhere")
        bindings[pattern.name] = found
    return None


def _show(pattern: Pattern) -> str:
    return getattr(pattern, "op", "") or getattr(pattern, "name", "") or "a constant"
