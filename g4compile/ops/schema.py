"""Ops of ours as ONNX knows them: schemas, so that `onnx.checker` checks our nodes, and functions of their bodies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import onnx
import onnx_ir as ir
from onnx.defs import OpSchema, has, register_schema

from g4compile.ops.fields import Attribute, Operand

DOMAIN, VERSION, OPSET = "g4", 1, 24

_FLOATS = ["tensor(float)", "tensor(float16)", "tensor(bfloat16)"]
_TYPES = {
    "T": _FLOATS,
    "I": ["tensor(int64)"],
    "M": ["tensor(float)"],
    "U": ["tensor(uint8)"],
    "Q": ["tensor(int8)"],
    "W": [*_FLOATS, "tensor(int8)"],
}
_ATTRIBUTES = {int: OpSchema.AttrType.INT, float: OpSchema.AttrType.FLOAT}


def register(
    name: str,
    doc: str,
    operands: Sequence[Operand],
    results: Sequence[Operand],
    attributes: Mapping[str, Attribute[Any]],
) -> None:
    """Register the schema of an op; once per process."""
    if has(name, domain=DOMAIN):
        return
    kinds = sorted({one.kind for one in (*operands, *results)})
    schema = OpSchema(
        name,
        DOMAIN,
        VERSION,
        doc=doc,
        inputs=[_parameter(one) for one in operands],
        outputs=[_parameter(one) for one in results],
        type_constraints=[(kind, _TYPES[kind], "") for kind in kinds],
        attributes=[
            OpSchema.Attribute(key, _ATTRIBUTES[one.kind], "", required=True) for key, one in attributes.items()
        ],
    )
    register_schema(schema)


def _parameter(operand: Operand) -> OpSchema.FormalParameter:
    options = OpSchema.FormalParameterOption
    option = options.Optional if operand.optional else options.Single
    return OpSchema.FormalParameter(operand.name, operand.kind, operand.shape, param_option=option)


@cache
def functions_of(bodies: tuple[tuple[str, str], ...]) -> Mapping[str, ir.Function]:
    """Bodies, each (overload, text), as ONNX functions by overload."""
    return {overload: ir.serde.deserialize_function(_parse(overload, body)) for overload, body in bodies}


def _parse(overload: str, body: str) -> onnx.FunctionProto:
    function = onnx.parser.parse_function(
        f'<domain: "{DOMAIN}", opset_import: ["" : {OPSET}, "{DOMAIN}" : {VERSION}]>\n{body}'
    )
    function.overload = overload
    return function
