"""Members of an op's class: operands, results and attributes. Read through a view, they give what its node has."""

from __future__ import annotations

from enum import Enum
from typing import Generic, Protocol, Self, TypeVar, overload

import onnx_ir as ir

from g4compile.errors import Defect

T = TypeVar("T", int, float)


class View(Protocol):
    """An instance of an op's class."""

    node: ir.Node


class Precision(Enum):
    """What a node computes in when activations are narrower than float32 (`lower-to-bfloat16`).

    NARROW: what its operands are rounded to. INSIDE_WIDE: reads what is there, computes in float32, gives narrow
    results. WIDE: in float32, results too.
    """

    NARROW = "narrow"
    INSIDE_WIDE = "inside wide"
    WIDE = "wide"


class Operand:
    """One input or output, by the name it is assigned to. ``shape``: see `shapes.py`. ``kind``: `T` floats, `I`
    int64, `M` float32 whatever the activations are, `U` packed codes, `Q` int8, `W` a weight, or codes of one in
    int8."""

    optional = False

    def __init__(self, shape: str, kind: str = "T", *, weight: bool = False) -> None:
        """``weight``: a tensor of the checkpoint stands here, which may be quantised."""
        self.shape, self.kind, self.weight = shape, kind, weight
        self.name, self.index = "", 0

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name


class Input(Operand):
    @overload
    def __get__(self, view: None, owner: type) -> Self: ...
    @overload
    def __get__(self, view: View, owner: type) -> ir.Value: ...
    def __get__(self, view: View | None, owner: type) -> Self | ir.Value:
        if view is None:
            return self
        value = view.node.inputs[self.index] if self.index < len(view.node.inputs) else None
        if value is None:
            raise Defect(f"the operand {self.name} of {view.node.op_type} is absent", where=str(view.node.name))
        return value


class OptionalInput(Operand):
    optional = True

    @overload
    def __get__(self, view: None, owner: type) -> Self: ...
    @overload
    def __get__(self, view: View, owner: type) -> ir.Value | None: ...
    def __get__(self, view: View | None, owner: type) -> Self | ir.Value | None:
        if view is None:
            return self
        return view.node.inputs[self.index] if self.index < len(view.node.inputs) else None


class Output(Operand):
    @overload
    def __get__(self, view: None, owner: type) -> Self: ...
    @overload
    def __get__(self, view: View, owner: type) -> ir.Value: ...
    def __get__(self, view: View | None, owner: type) -> Self | ir.Value:
        return self if view is None else view.node.outputs[self.index]


class Attribute(Generic[T]):
    """A required attribute of type ``kind``. ``size``: the letter of the shape strings whose value it is."""

    def __init__(self, kind: type[T], *, size: str = "") -> None:
        self.kind: type[T] = kind
        self.size, self.name = size, ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, view: None, owner: type) -> Self: ...
    @overload
    def __get__(self, view: View, owner: type) -> T: ...
    def __get__(self, view: View | None, owner: type) -> Self | T:
        if view is None:
            return self
        value: T = self.kind(view.node.attributes[self.name].value)
        return value
