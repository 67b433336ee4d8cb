"""What an op of ours is: one class, which states all facts about it once, and whose instances are typed views of nodes.

    class GeGLU(Op):
        gate = Input("[..., I]")
        up = Input("[..., I]")
        y = Output("[..., I]")
        stages = span("canonical", "quantized")
        reference = staticmethod(reference)
        bodies = {"": BODY}

    GeGLU.matches(node)                   whether a node is of this op
    GeGLU.of(node).gate                   an operand, by name
    GeGLU.insert(builder, gate, up)       a new node, its outputs' shapes and dtypes inferred
    GeGLU.of(node).replace(up=other)      the same node with another operand or attribute

``reference`` (NumPy) and ``bodies`` (functions in ONNX ops, by overload) are two independent statements of one meaning,
which tests compare. A body runs anywhere ONNX runs, so a graph can be executed at every stage. The overload names the
optional operand that a node lacks. From the shape strings follow the inferred shapes, the check of operands, and which
axis is tokens: `S`, or what `...` stands for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import onnx_ir as ir

from g4compile.errors import Defect, SpecError
from g4compile.graph.build import Builder
from g4compile.graph.edit import replace
from g4compile.graph.stage import describe, op_name, span
from g4compile.ops.fields import Attribute, Input, Operand, OptionalInput, Output, Precision
from g4compile.ops.schema import DOMAIN, functions_of, register
from g4compile.ops.shapes import Shape, Unifier, misfit

__all__ = ["Array", "Attribute", "Input", "Op", "OptionalInput", "Output", "Precision", "span"]

Array = np.ndarray[Any, Any]
_DTYPES = {"I": ir.DataType.INT64, "M": ir.DataType.FLOAT, "Q": ir.DataType.INT8, "U": ir.DataType.UINT8}


class Op:
    """A typed view of ``node``. Subclasses state an op; each is registered with ONNX when its class is made."""

    operands: ClassVar[tuple[Operand, ...]]
    results: ClassVar[tuple[Output, ...]]
    attributes: ClassVar[Mapping[str, Attribute[Any]]]
    stages: ClassVar[tuple[str, ...]] = ()  # named stages in whose graphs it may stand; targets name theirs
    precision: ClassVar[Precision] = Precision.NARROW
    reference: ClassVar[Callable[..., Array | tuple[Array, ...]]]
    bodies: ClassVar[Mapping[str, str]]

    def __init_subclass__(cls) -> None:
        fields = vars(cls).values()
        cls.operands = tuple(field for field in fields if isinstance(field, Operand) and not isinstance(field, Output))
        cls.results = tuple(field for field in fields if isinstance(field, Output))
        cls.attributes = {field.name: field for field in fields if isinstance(field, Attribute)}
        for members in (cls.operands, cls.results):
            for index, member in enumerate(members):
                member.index = index
        register(cls.__name__, sys.modules[cls.__module__].__doc__ or "", cls.operands, cls.results, cls.attributes)

    def __init__(self, node: ir.Node) -> None:
        self.node = node

    @classmethod
    def name(cls) -> str:
        """As specs and messages call it: `g4.GeGLU`."""
        return f"{DOMAIN}.{cls.__name__}"

    @classmethod
    def matches(cls, node: ir.Node | None) -> bool:
        """Whether ``node`` is of this op."""
        return node is not None and node.domain == DOMAIN and node.op_type == cls.__name__

    @classmethod
    def of(cls, node: ir.Node) -> Self:
        """The view of ``node``. Raises Defect when it is of another op."""
        if not cls.matches(node):
            raise Defect(f"{describe(node)} is no {cls.name()}")
        return cls(node)

    @classmethod
    def producing(cls, value: ir.Value | None) -> Self | None:
        """The view of the node that computes ``value``; None when that is of another op."""
        node = value.producer() if value is not None else None
        return cls(node) if node is not None and cls.matches(node) else None

    @classmethod
    def all_in(cls, graph: ir.Graph) -> list[Self]:
        """Views of all nodes of this op that ``graph`` has now, in order."""
        return [cls(node) for node in graph if cls.matches(node)]

    @classmethod
    def create(cls, *inputs: ir.Value | None, **attributes: Any) -> ir.Node:
        """A node that stands in no graph yet; its outputs have no types. Raises Defect for operands or attributes that
        the op does not have, and for attributes that are not given."""
        cls.check_names(len(inputs), attributes)
        given = [*inputs, *[None] * (len(cls.operands) - len(inputs))]
        while given and given[-1] is None:
            given.pop()
        ordered = {name: attributes[name] for name in cls.attributes}
        overload = cls.overload(len(given))
        return ir.node(cls.__name__, given, ordered, domain=DOMAIN, overload=overload, num_outputs=len(cls.results))

    @classmethod
    def check_names(cls, operands: int, attributes: Mapping[str, Any]) -> None:
        """Raise Defect unless the op may have so many operands, and has exactly these attributes."""
        if operands > len(cls.operands):
            raise Defect(f"{cls.name()} has {len(cls.operands)} operands, {operands} are given")
        if attributes.keys() != cls.attributes.keys():
            raise Defect(
                f"{cls.name()} has the attributes {', '.join(cls.attributes) or '(none)'}",
                why=f"given are {', '.join(attributes) or '(none)'}",
            )

    @classmethod
    def insert_all(cls, builder: Builder, *inputs: ir.Value | None, **attributes: Any) -> list[ir.Value]:
        """Insert a node; all its outputs, their shapes and dtypes inferred. Raises SpecError when the operands do
        not fit."""
        node = cls.create(*inputs, **attributes)
        cls(node).infer()
        return builder.insert(node)

    @classmethod
    def insert(cls, builder: Builder, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """As `insert_all`, of an op with one output."""
        return cls.insert_all(builder, *inputs, **attributes)[0]

    @classmethod
    def overload(cls, count: int) -> str:
        """Which body a node with ``count`` operands has: the one named by the optional operand that it lacks."""
        missing = [operand.name for operand in cls.operands[count:]]
        return f"no_{missing[0]}" if missing else ""

    @classmethod
    def functions(cls) -> Mapping[str, ir.Function]:
        """The bodies as ONNX functions, by overload."""
        return functions_of(tuple(cls.bodies.items()))

    @property
    def inputs(self) -> dict[str, ir.Value]:
        """Operands by name, without those that are absent."""
        named = zip(self.operands, self.node.inputs, strict=False)
        return {operand.name: value for operand, value in named if value is not None}

    @property
    def values(self) -> dict[str, int | float]:
        """Attributes by name."""
        return {name: self.node.attributes[name].value for name in self.attributes}

    def replace(self, **changes: Any) -> list[ir.Value]:
        """Put a node with ``changes`` (operands or attributes by name) in this one's place; its outputs. Raises Defect
        for a name that the op does not have."""
        unknown = changes.keys() - self.attributes.keys() - {operand.name for operand in self.operands}
        if unknown:
            raise Defect(f"{self.name()} has no {', '.join(sorted(unknown))}", where=describe(self.node))
        inputs, attributes = {**self.inputs}, {**self.values}
        for name, change in changes.items():
            (attributes if name in self.attributes else inputs)[name] = change
        made = self.insert_all(
            Builder(self.node), *(inputs.get(operand.name) for operand in self.operands), **attributes
        )
        for old, new in zip(self.node.outputs, made, strict=True):
            replace(old, new)
        self.remove()
        return made

    def replace_by(self, *values: ir.Value) -> None:
        """Let readers of this node's outputs read ``values``, and remove it."""
        for old, new in zip(self.node.outputs, values, strict=True):
            replace(old, new)
        self.remove()

    def remove(self) -> None:
        """Take the node, which nothing reads, out of its graph."""
        if isinstance(self.node.graph, ir.Graph):
            self.node.graph.remove(self.node, safe=True)

    def set(self, attribute: str, value: int) -> None:
        """Change an integer attribute in place."""
        self.node.attributes[attribute] = ir.AttrInt64(attribute, value)

    def infer(self) -> None:
        """Give the outputs the shapes and dtypes that follow from operands and attributes. Raises SpecError when
        operands do not fit."""
        node = self.node
        first = next(
            (value.dtype for value, one in zip(node.inputs, self.operands, strict=False) if one.kind == "T" and value),
            None,
        )
        for value, output, shape in zip(node.outputs, self.results, self.inferred_shapes(), strict=True):
            value.shape = None if shape is None else ir.Shape(shape)
            dtype = _DTYPES.get(output.kind, first)
            value.type = None if dtype is None else ir.TensorType(dtype)

    def operand_texts(self) -> Sequence[tuple[int, str]]:
        """(index, shape string) of each operand that is there."""
        named = zip(self.operands, self.node.inputs, strict=False)
        return [(operand.index, operand.shape) for operand, value in named if value is not None]

    def inferred_shapes(self) -> list[Shape | None]:
        """Shapes of the outputs that follow from operands and attributes. Raises SpecError when operands do not fit."""
        unifier = self._unifier(self.operands, self.node.inputs)
        return [unifier.shape(output.shape) for output in self.results]

    def check(self, after: str = "") -> None:
        """Raise SpecError, which names the pass ``after`` which it is, unless letters mean one size in all operands and
        outputs of the node, and its overload is that of its operands."""
        overload = self.overload(len(self.node.inputs))
        if self.node.overload != overload:
            named = [
                f"{self.node.op_type}:{one}" if one else self.node.op_type for one in (self.node.overload, overload)
            ]
            raise self._refusal(f"{named[0]} stands with the operands of {named[1]}", after)
        fields = (*self.operands[: len(self.node.inputs)], *self.results)
        problem = misfit(self._sizes(), self._shaped(fields, (*self.node.inputs, *self.node.outputs)))
        if problem:
            raise self._refusal(problem, after)

    def _unifier(self, fields: Sequence[Operand], values: Sequence[ir.Value | None]) -> Unifier:
        unifier = Unifier(dict(self._sizes()))
        problem = unifier.unify(self._shaped(fields, values))
        if problem:
            raise self._refusal(problem)
        return unifier

    def _sizes(self) -> tuple[tuple[str, int], ...]:
        """Letters of which an attribute is the value."""
        return tuple((field.size, int(self.values[field.name])) for field in self.attributes.values() if field.size)

    @staticmethod
    def _shaped(fields: Sequence[Operand], values: Sequence[ir.Value | None]) -> tuple[tuple[str, str, Shape], ...]:
        """(name, shape string, shape) of each operand that is there and has a shape."""
        return tuple(
            (field.name, field.shape, shape_of(value))
            for field, value in zip(fields, values, strict=False)
            if value is not None and value.shape is not None
        )

    def _refusal(self, problem: str, after: str = "") -> SpecError:
        where = f"{describe(self.node)}, after {after}" if after else describe(self.node)
        return SpecError(f"the operands of {op_name(self.node)} do not fit", where=where, why=problem)


def shape_of(value: ir.Value) -> Shape:
    """The sizes of ``value``: numbers, names, or None. Its rank must be known."""
    return tuple(size if isinstance(size, int) else size.value for size in value.shape or ())
