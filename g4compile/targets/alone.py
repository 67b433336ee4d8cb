"""Any pass alone, on a graph in text form: those of all targets too, and `legalize{target=NAME}`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import onnx
import onnx_ir as ir

from g4compile import pipeline
from g4compile.errors import InputError
from g4compile.graph.text import from_proto, read_proto, to_text
from g4compile.ops.registry import all_ops
from g4compile.ops.schema import DOMAIN, OPSET, VERSION
from g4compile.passes.base import parse_pipeline
from g4compile.passes.registry import all_passes
from g4compile.targets import TARGETS, target_passes
from g4compile.weights.text import read_references

_LARGEST = 1 << 48  # of sizes: sums of a few of them are int64 too


@dataclass(frozen=True)
class LegalizeFor:
    """`legalize{target=NAME}`: the generic pass with the data of a target."""

    name: ClassVar[str] = "legalize"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)
    target: str = "onnx-cpu"

    def apply(self, model: ir.Model) -> None:
        """As the target's own pass. Raises InputError for a target that does not exist."""
        if self.target not in TARGETS:
            raise InputError(f"there is no target {self.target}", fix=f"targets: {', '.join(TARGETS)}")
        TARGETS[self.target].legalize().apply(model)


def known_passes() -> dict[str, type[Any]]:
    """All passes by name; `legalize` here takes the name of a target."""
    return {**all_passes(), **target_passes(), LegalizeFor.name: LegalizeFor}


def run_on_text(source: str, passes: str, where: str = "text") -> str:
    """The graph ``source`` in ONNX text after ``passes`` (`name{option=value,...}, ...`), as text.

    The graph is checked first, and the spec after each pass. Raises InputError for a graph that is not valid at its
    stage, that a pass refuses, or of which a pass makes what breaks the spec.
    """
    chosen = parse_pipeline(passes, known_passes())
    proto = read_proto(source, where)
    _check(proto, where)
    _complete(proto, where)
    model = from_proto(proto, read_references, where)
    pipeline.run_alone(model, chosen)
    return to_text(model)


def _check(proto: onnx.ModelProto, where: str) -> None:
    """Raise InputError unless ``proto`` is a valid ONNX graph of the versions that passes know."""
    all_ops()  # so that the checker knows them
    for opset in proto.opset_import:
        known = {"": OPSET, DOMAIN: VERSION}.get(opset.domain)
        if opset.version != known:
            raise InputError(
                f"the graph is of version {opset.version} of the ops {opset.domain or 'of ONNX'}",
                where=where,
                fix=f'write opset_import: ["" : {OPSET}, "{DOMAIN}" : {VERSION}] into its header',
            )
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        if any(not 0 <= size.dim_value <= _LARGEST for size in value.type.tensor_type.shape.dim):
            raise InputError(f"a size of {value.name} is out of range", where=where, why=f"0 to {_LARGEST:,} are in it")
    for node in proto.graph.node:
        for attribute in node.attribute if node.domain == DOMAIN else ():
            if abs(attribute.i) > _LARGEST:
                raise InputError(f"{attribute.name} of {node.op_type} node {node.name} is out of range", where=where)
    checked = onnx.ModelProto()
    checked.CopyFrom(proto)
    del checked.graph.initializer[:]
    inputs = {value.name for value in proto.graph.input}
    for tensor in proto.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            checked.graph.initializer.append(tensor)
        elif tensor.name not in inputs:  # a reference: the checker would look for a file of that name
            value = checked.graph.input.add(name=tensor.name)
            value.type.tensor_type.elem_type = tensor.data_type
            for size in tensor.dims:
                value.type.tensor_type.shape.dim.add(dim_value=size)
    try:
        onnx.checker.check_model(checked, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise InputError("this is not a valid graph", where=where, why=str(error).strip()) from error


def _complete(proto: onnx.ModelProto, where: str) -> None:
    """Write out the attributes that passes read, where a node of ``proto`` leaves them to ONNX's defaults, as graphs of
    ours do. Raises InputError for an order that is not written out."""
    for node in proto.graph.node:
        present = {attribute.name for attribute in node.attribute}
        if node.domain:
            continue
        if node.op_type == "Transpose" and "perm" not in present:
            raise InputError(f"Transpose node {node.name} has no perm", where=where, fix="write the order of axes out")
        defaults = onnx.defs.get_schema(node.op_type, OPSET, "").attributes
        for name in ("axis", "keepdims"):
            if name in defaults and name not in present:
                node.attribute.append(defaults[name].default_value)
