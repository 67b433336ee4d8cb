"""legalize: every op becomes one its target has.

    keep it if it is legal, else apply the target's lowering, else inline its own body, else fail.

Generic: which ops are legal and how they are lowered is the target's data. A failure names the node, the layer
it came from, and what would make it legal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from g4compile.errors import SpecError
from g4compile.graph.edit import Inserter, replace
from g4compile.graph.stage import describe, op_name
from g4compile.ops import DOMAIN, OPS

# Inserts what replaces a node and returns the values that stand for its outputs.
Lowering = Callable[[ir.Node, Inserter], list[ir.Value]]


@dataclass(frozen=True)
class Legalize:
    """``lowerings``: what the target does better than the body, by op."""

    target: str
    legal: frozenset[str]
    lowerings: Mapping[str, Lowering]
    dtypes: frozenset[ir.DataType]
    name: ClassVar[str] = "legalize"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)

    def apply(self, model: ir.Model) -> None:
        pending = list(model.graph)
        while pending:
            node = pending.pop()
            if op_name(node) in self.legal:
                continue
            lowering = self.lowerings.get(op_name(node)) or (inline_body if node.domain == DOMAIN else None)
            if lowering is None:
                raise SpecError(
                    f"{self.target} cannot run {op_name(node)}",
                    where=describe(node),
                    why="it is not legal, has no lowering for this target and no body",
                    fix="add a lowering to the target",
                )
            insert = Inserter(node)
            for old, new in zip(node.outputs, lowering(node, insert), strict=True):
                replace(old, new)
            model.graph.remove(node, safe=True)
            pending += insert.made
        for node in model.graph.all_nodes():
            for value in node.outputs:
                if value.dtype is not None and value.dtype not in self.dtypes:
                    raise SpecError(f"{self.target} cannot hold {value.dtype.name} values", where=describe(node))


def inline_body(node: ir.Node, insert: Inserter) -> list[ir.Value]:
    """The op's own body in place of the node; its constants become shared initializers."""
    function = OPS[node.op_type].functions[node.overload]
    values: dict[ir.Value, ir.Value | None] = dict(zip(function.inputs, node.inputs, strict=True))
    for inner in function:
        attributes = [_resolved(attribute, node) for attribute in inner.attributes.values()]
        if inner.op_type == "Constant":
            values[inner.outputs[0]] = insert.constant(*_constant_of(attributes[0]))
            continue
        made = insert.node(
            inner.domain,
            inner.op_type,
            [values[value] if value is not None else None for value in inner.inputs],
            attributes,
            inner.overload,
            len(inner.outputs),
        )
        values.update(zip(inner.outputs, made, strict=True))
    for inside, outside in zip(function.outputs, node.outputs, strict=True):
        made_value = values[inside]
        assert made_value is not None
        made_value.shape, made_value.type = outside.shape, outside.type
    return [value for inside in function.outputs if (value := values[inside]) is not None]


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
