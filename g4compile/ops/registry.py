"""What an op is: schema, NumPy reference, shape rule, and a body in standard ONNX ops.

The reference and the body are two independent statements of the same meaning; tests compare them. A body runs
anywhere ONNX runs, so a graph is executable at every stage. `overload` picks the body of an op that has an
optional operand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx.defs import OpSchema, has, register_schema

DOMAIN, VERSION, OPSET = "g4", 1, 24

Dim = int | str
Shape = tuple[Dim, ...]
Array = np.ndarray[Any, Any]
Attributes = Mapping[str, Any]

_FLOATS = ["tensor(float)", "tensor(float16)", "tensor(bfloat16)"]
_TYPES = {"T": _FLOATS, "I": ["tensor(int64)"], "M": ["tensor(float)"], "U": ["tensor(uint8)"], "Q": ["tensor(int8)"],
          "W": [*_FLOATS, "tensor(int8)"]}  # fmt: skip


@dataclass(frozen=True)
class Operand:
    """One input or output. ``kind``: `T` activations and weights, `I` int64, `M` float32 masks, `U` packed codes, `Q` int8,
    `W` weights, or codes of them in int8."""

    name: str
    shape: str
    kind: str = "T"
    optional: bool = False


@dataclass(frozen=True)
class Op:
    """One `g4` op. ``infer`` maps input shapes and attributes to output shapes; dtypes follow ``kind``."""

    name: str
    doc: str
    inputs: tuple[Operand, ...]
    outputs: tuple[Operand, ...]
    reference: Callable[..., Array | tuple[Array, ...]]
    infer: Callable[[Sequence[Shape], Attributes], list[Shape]]
    bodies: Mapping[str, str]
    attributes: Mapping[str, type] = field(default_factory=dict)

    def register(self) -> Op:
        """Register the schema, so that `onnx.checker` checks our nodes; once per process."""
        if not has(self.name, domain=DOMAIN):
            register_schema(self._schema())
        return self

    def _schema(self) -> OpSchema:
        def parameter(operand: Operand) -> OpSchema.FormalParameter:
            option = (
                OpSchema.FormalParameterOption.Optional if operand.optional else OpSchema.FormalParameterOption.Single
            )
            return OpSchema.FormalParameter(operand.name, operand.kind, operand.shape, param_option=option)

        kinds = {operand.kind for operand in (*self.inputs, *self.outputs)}
        attribute_types = {int: OpSchema.AttrType.INT, float: OpSchema.AttrType.FLOAT}
        return OpSchema(
            self.name,
            DOMAIN,
            VERSION,
            doc=self.doc,
            inputs=[parameter(operand) for operand in self.inputs],
            outputs=[parameter(operand) for operand in self.outputs],
            type_constraints=[(kind, _TYPES[kind], "") for kind in sorted(kinds)],
            attributes=[
                OpSchema.Attribute(name, attribute_types[kind], "", required=True)
                for name, kind in self.attributes.items()
            ],
        )

    def overload(self, operands: int) -> str:
        """Which body a node with ``operands`` inputs has: the one named by the optional operand it lacks."""
        missing = [operand.name for operand in self.inputs[operands:]]
        return f"no_{missing[0]}" if missing else ""

    @cached_property
    def functions(self) -> dict[str, ir.Function]:
        """The bodies as ONNX functions, by overload."""
        return {
            overload: ir.serde.deserialize_function(self._parse(overload, body))
            for overload, body in self.bodies.items()
        }

    def _parse(self, overload: str, body: str) -> onnx.FunctionProto:
        named = f'<domain: "{DOMAIN}", opset_import: ["" : {OPSET}, "{DOMAIN}" : {VERSION}]>\n{body}'
        function = onnx.parser.parse_function(named)
        function.overload = overload
        return function
