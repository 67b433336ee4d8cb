"""The text form of a graph: ONNX text syntax, values renumbered, weights as references.

A weight prints as `float[64,64] model.norm.weight = ["location": "KEY", "steps": "transpose"]`; node names are
module paths, so the origin of every node survives. `parse` gives the graph back: its ops without bodies, and its
weights as ``read`` makes them of references (`weights/text.py` has the one to use).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence

import onnx
import onnx_ir as ir

from g4compile.bundle.weight_codes import Word, parse_words
from g4compile.errors import InputError
from g4compile.graph.references import Reader, Recorded, Reference, static_shape
from g4compile.graph.source import check_brackets
from g4compile.graph.stage import stage_of

_STEPS = "steps"
_LONGEST = 400  # characters of a parser's message, which quotes a whole line of the text
# What the parser's C++ library says of a number that an int64 cannot hold.
_STANDARD_LIBRARY = ("stoll", "stoull")
_NUMBER = "a number is out of the range of int64"
# Between two declarations of the header: a comma before a type name. They print on a line each.
_ENTRY = re.compile(r", (?=(?:float|float16|bfloat16|double|int64|int32|uint8|bool)[\[ ])")


def renumber(model: ir.Model) -> None:
    """Name intermediate values v0, v1, ... in node order; inputs, outputs and initializers keep theirs."""
    kept = {*model.graph.inputs, *model.graph.outputs, *model.graph.initializers.values()}
    counter = 0
    for node in model.graph.all_nodes():
        for value in node.outputs:
            if value not in kept:
                value.name = f"v{counter}"
                counter += 1


def to_proto(model: ir.Model) -> onnx.ModelProto:
    """Serialize without reading any weight: references become external tensors that name their key."""
    initializers = model.graph.initializers
    tensors = {
        name: value.const_value for name, value in initializers.items() if isinstance(value.const_value, Reference)
    }
    try:
        for name, tensor in tensors.items():
            initializers[name].const_value = ir.ExternalTensor(
                tensor.key, None, None, tensor.dtype, shape=tensor.shape, name=name
            )
        proto = ir.serde.serialize_model(model)
    finally:
        for name, tensor in tensors.items():
            initializers[name].const_value = tensor
    for initializer in proto.graph.initializer:
        reference = tensors.get(initializer.name)
        if reference is not None and reference.words:
            initializer.external_data.add(key=_STEPS, value=" ".join(map(str, reference.words)))
    return proto


def to_text(model: ir.Model) -> str:
    """The graph as text. Bodies of `g4` ops are not printed: they follow from the op."""
    renumber(model)
    proto = to_proto(model)
    del proto.functions[:]
    declared = {tensor.name for tensor in proto.graph.initializer}
    kept = [info for info in proto.graph.value_info if info.name not in declared]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(kept)
    stage_of(model)
    return _ENTRY.sub(",\n    ", str(onnx.printer.to_text(proto))) + "\n"


def parse(text: str, read: Reader, where: str = "text") -> ir.Model:
    """Read the text form. Raises InputError with the parser's position on a syntax error, and for a step of a weight
    that cannot be read."""
    return from_proto(read_proto(text, where), read, where)


def read_proto(text: str, where: str) -> onnx.ModelProto:
    """``text`` as ONNX has it, nothing of it checked but the syntax. Raises InputError with the parser's position."""
    check_brackets(text, where)
    try:
        return onnx.parser.parse_model(text)
    except onnx.parser.ParseError as error:
        message = re.sub(r"^b['\"]|['\"]$", "", str(error)).replace("\\n", "\n")
        why = message if len(message) <= _LONGEST else f"{message[: _LONGEST // 2]} ... {message[-_LONGEST // 2 :]}"
    except (ValueError, IndexError, RuntimeError) as error:  # a number that no int64 or float holds
        why = _NUMBER if str(error) in _STANDARD_LIBRARY else str(error)[:_LONGEST]
    raise InputError("this is not a graph in ONNX text syntax", where=where, why=why)


def from_proto(proto: onnx.ModelProto, read: Reader, where: str) -> ir.Model:
    """The graph of ``proto``, its weights as ``read`` makes them of references. Raises InputError for a graph that
    holds no meaning (a value that is computed twice), and for a step of a weight that cannot be read."""
    steps = {tensor.name: _steps(tensor) for tensor in proto.graph.initializer}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "Ignoring unknown external data key", UserWarning
            )  # the steps, read above
            model = ir.serde.deserialize_model(proto)
    except ir.serde.SerdeError as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise InputError("this is not a valid graph", where=where, why=str(cause)[:_LONGEST]) from error
    external = {
        value: value.const_value
        for value in model.graph.initializers.values()
        if isinstance(value.const_value, ir.ExternalTensor)
    }
    recorded = [
        Recorded(str(tensor.location), tensor.dtype, static_shape(tensor), _words(str(value.name), steps, where))
        for value, tensor in external.items()
    ]
    for value, reference in zip(external, read(recorded), strict=True):
        reference.name = value.name
        value.const_value = reference
    return model


def _words(name: str, steps: Mapping[str, Sequence[str]], where: str) -> tuple[Word, ...]:
    try:
        return parse_words(steps[name])
    except InputError as error:
        raise InputError(error.what, where=f"{where}, weight {name}", why=error.why, fix=error.fix) from error


def _steps(tensor: onnx.TensorProto) -> list[str]:
    entries: dict[str, str] = {entry.key: entry.value for entry in tensor.external_data}
    return entries.get(_STEPS, "").split()
