"""Graphs in text form, their weights as references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_ir as ir

from g4compile.bundle.weight_codes import BlockPart, CodeWord, EnginePart, Flat, Narrow, Panels
from g4compile.bundle.weight_steps import WeightStep
from g4compile.errors import InputError
from g4compile.graph.references import Recorded, Reference
from g4compile.graph.text import parse
from g4compile.weights.coded import CodedMatrix
from g4compile.weights.engine_tensors import QUANTIZER, EngineTensor
from g4compile.weights.formats.blocks import WHOLE_ROW, BlockFormat
from g4compile.weights.formats.channel_panels import ChannelPanels, fits_panels
from g4compile.weights.formats.float8 import FP8, Float8Matrix
from g4compile.weights.formats.int4 import INT4, Int4Matrix
from g4compile.weights.formats.narrow_blocks import NarrowBlocks, fits_narrow
from g4compile.weights.quantized import QuantizedMatrix, QuantizedTensor
from g4compile.weights.references import CheckpointTensor

Part = BlockPart | EnginePart
Layout = Flat | Panels | Narrow | None


def parse_graph(text: str, where: str = "text") -> ir.Model:
    """The graph that `graph.text.to_text` printed, weights unbound. Raises InputError."""
    return parse(text, read_references, where)


def read_references(recorded: Sequence[Recorded]) -> list[Reference]:
    """The references of a graph: `CheckpointTensor`s, and parts of coded weights. Parts of one weight share its matrix.

    Raises InputError for words in an order that has no meaning, and for a shape that is not that of the part.
    """
    split = [_split(one) for one in recorded]
    matrices: dict[tuple[object, ...], CodedMatrix] = {}
    for one, (steps, part, layout) in zip(recorded, split, strict=True):
        shape = None if part is None else _weight_shape(one, part, layout)
        if part is not None and shape is not None and _identity(one, steps, part, layout) not in matrices:
            matrices[_identity(one, steps, part, layout)] = _matrix(one, steps, part, layout, shape)
    made: list[Reference] = []
    for one, (steps, part, layout) in zip(recorded, split, strict=True):
        if part is None:
            made.append(CheckpointTensor(one.key, one.dtype, one.shape, steps))
        else:
            made.append(_tensor(one, matrices.get(_identity(one, steps, part, layout)), part, layout))
    return made


def _split(one: Recorded) -> tuple[tuple[WeightStep, ...], Part | None, Layout]:
    """The steps of a reference, what part of which codes it is, and how that lies."""
    codes = [word for word in one.words if isinstance(word, CodeWord)]
    steps = tuple(word for word in one.words if not isinstance(word, CodeWord))
    if not codes:
        return steps, None, None
    part, last = codes[0], codes[-1]
    layout = last if isinstance(last, Flat | Panels | Narrow) else None
    ordered = one.words[len(steps) :] == tuple(codes) and len(codes) == 1 + (layout is not None)
    if ordered and (isinstance(part, BlockPart) or (isinstance(part, EnginePart) and layout is None)):
        return steps, part, layout
    raise _unreadable(one, "what says of codes stands once, behind the steps of the weight")


def _identity(one: Recorded, steps: tuple[WeightStep, ...], part: Part, layout: Layout) -> tuple[object, ...]:
    """Equal for the parts of one coded weight."""
    if isinstance(part, BlockPart):
        lies = None if isinstance(layout, Flat) else layout  # the same bytes, seen as rows
        return one.key, steps, replace(part, part=""), lies
    return one.key, steps, part.format, part.block


def _weight_shape(one: Recorded, part: Part, layout: Layout) -> tuple[int, ...] | None:
    """The shape of the weight of which ``one`` is a part; None when the part does not tell."""
    shape = one.shape
    try:
        if isinstance(layout, Panels) and isinstance(part, BlockPart):
            whole_rows = part.part == "scales" and part.block == WHOLE_ROW
            own = 1 if whole_rows else 2 if part.part == "codes" else 3  # sizes of one matrix
            return (*shape[: len(shape) - own], layout.rows, part.columns)
        if isinstance(part, BlockPart):
            flat = isinstance(layout, Flat) or part.part != "codes"
            return (*(shape[:-1] if flat else shape[:-2]), part.columns)
        if part.format == FP8:
            return (*shape[:-2], shape[-1], shape[-2]) if part.part == "codes" else None
        if part.format != INT4 or part.block is None:
            raise _unreadable(one, f"an engine reads codes as {INT4}:BLOCK or {FP8}")
        return shape if part.part == "codes" else (*shape[:-1], shape[-1] * part.block)
    except (IndexError, ValueError) as error:
        raise _unreadable(one, f"the shape {list(shape)} has too few sizes for this part") from error


def _matrix(
    one: Recorded, steps: tuple[WeightStep, ...], part: Part, layout: Layout, shape: tuple[int, ...]
) -> CodedMatrix:
    if isinstance(part, BlockPart):
        weight = CheckpointTensor(one.key, ir.DataType.FLOAT, shape, steps)
        format = BlockFormat(part.bits, part.block, part.symmetric, part.scales)
        if isinstance(layout, Narrow):
            if not fits_narrow(format):
                raise _unreadable(one, f"the {format.scales} scales of {format} do not stand in two bytes")
            return NarrowBlocks(weight, format, part.quantizer)
        if not isinstance(layout, Panels):
            return QuantizedMatrix(weight, format, part.quantizer)
        if not fits_panels(shape, format):
            raise _unreadable(
                one, f"a weight {list(shape)} of {format}, {format.scales} scales, does not stand in panels"
            )
        return ChannelPanels(weight, format, part.quantizer)
    weight = CheckpointTensor(one.key, ir.DataType.BFLOAT16, shape, steps)
    if part.format == FP8 or part.block is None:
        return Float8Matrix(weight)
    return Int4Matrix(weight, BlockFormat(4, part.block), QUANTIZER)


def _tensor(one: Recorded, matrix: CodedMatrix | None, part: Part, layout: Layout) -> Reference:
    made: Reference
    if isinstance(matrix, Int4Matrix | Float8Matrix):
        made = EngineTensor(matrix, part.part)
    elif isinstance(matrix, QuantizedMatrix):
        made = QuantizedTensor(matrix, part.part, isinstance(layout, Flat))
    else:
        raise _unreadable(one, f"the {part.part} stand without the other parts of the weight")
    if made.shape != ir.Shape(one.shape) or made.dtype != one.dtype:
        raise _unreadable(one, f"these {part.part} are {made.dtype} {made.shape}, not {one.dtype} {list(one.shape)}")
    return made


def _unreadable(one: Recorded, why: str) -> InputError:
    words = " ".join(map(str, one.words))
    return InputError(f"the steps of weight {one.key} cannot be read", where=words, why=why)
