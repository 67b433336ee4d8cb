"""legalize: every op becomes one its target has.

    keep it if it is legal, else apply the target's lowering, else inline its own body, else fail.

Generic: which ops are legal and how they are lowered is the target's data. A failure names the node, the layer
it came from, and what would make it legal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_ir as ir

from g4compile.errors import SpecError
from g4compile.graph.build import Builder
from g4compile.graph.stage import describe, op_name
from g4compile.ops.op import Op
from g4compile.ops.registry import view

# Builds what stands for a node of an op of ours, from its view: a value per output.
Lowering = Callable[[Any, Builder], Sequence[ir.Value]]
Lowerings = Mapping[type[Op], Lowering]


@dataclass(frozen=True)
class Legalize:
    """``lowerings``: what the target does better than the body, by op."""

    target: str
    legal: frozenset[str]
    lowerings: Lowerings
    dtypes: frozenset[ir.DataType]
    name: ClassVar[str] = "legalize"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)

    def apply(self, model: ir.Model) -> None:
        pending, lacking = list(model.graph), dict[str, ir.Node]()
        while pending:
            node = pending.pop()
            if op_name(node) in self.legal:
                continue
            op = view(node)
            if op is None:
                lacking[op_name(node)] = node  # the rest is looked at too, so that one message names them all
                continue
            builder = Builder(node)
            lowering = self.lowerings.get(type(op))
            op.replace_by(*(inline_body(op, builder) if lowering is None else lowering(op, builder)))
            pending += builder.made
        if lacking:
            raise SpecError(
                f"{self.target} cannot run {', '.join(sorted(lacking))}",
                where=", ".join(describe(lacking[name]) for name in sorted(lacking)),
                why="not legal, without a lowering for this target, and without a body",
                fix="add what the runtime has to the legal ops of the target, or a lowering",
            )
        for node in model.graph.all_nodes():
            for value in node.outputs:
                if value.dtype is not None and value.dtype not in self.dtypes:
                    raise SpecError(f"{self.target} cannot hold {value.dtype.name} values", where=describe(node))


def inline_body(op: Op, builder: Builder) -> list[ir.Value]:
    """The op's own body in place of its node; the body's constants become shared initializers."""
    function = op.functions()[op.node.overload]
    values: dict[ir.Value | None, ir.Value | None] = {None: None}
    values.update(zip(function.inputs, op.node.inputs, strict=True))
    for inner in function:
        attributes = [_resolved(attribute, op.node) for attribute in inner.attributes.values()]
        if inner.op_type == "Constant":
            values[inner.outputs[0]] = builder.constant(*_constant_of(attributes[0]))
            continue
        operands = [values[value] for value in inner.inputs]
        copy = ir.Node(
            inner.domain, inner.op_type, operands, attributes, overload=inner.overload, num_outputs=len(inner.outputs)
        )
        values.update(zip(inner.outputs, builder.insert(copy), strict=True))
    found = [value for inside in function.outputs if (value := values[inside]) is not None]
    for made, outside in zip(found, op.node.outputs, strict=True):
        made.shape, made.type = outside.shape, outside.type
    return found


def _resolved(attribute: ir.Attr, node: ir.Node) -> ir.Attr:
    """A body attribute; a reference takes the value the calling node has."""
    if not attribute.is_ref():
        return attribute
    given = node.attributes[str(attribute.ref_attr_name)]
    return ir.Attr(attribute.name, given.type, given.value)


def _constant_of(attribute: ir.Attr) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.generic]], ir.DataType]:
    dtypes = {
        "value_int": ir.DataType.INT64,
        "value_ints": ir.DataType.INT64,
        "value_float": ir.DataType.FLOAT,
        "value_floats": ir.DataType.FLOAT,
    }
    if attribute.name == "value":
        tensor = attribute.as_tensor()
        return tensor.numpy(), tensor.dtype
    dtype = dtypes[attribute.name]
    return np.asarray(attribute.value, dtype.numpy()), dtype
