"""Parts of tensors: slices, splits and lookups, also along a size that is known only when an engine runs; and tensors
that are expanded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from g4compile.errors import SpecError
from g4compile.graph.edit import constant_array

if TYPE_CHECKING:
    from g4compile.targets.tensorrt.network.emitter import Emitter, Tensor

_END = 2**31 - 1


def slice_(e: Emitter, node: ir.Node) -> list[Tensor]:
    """One axis, step 1. On a dynamic size: the last n, whose start is computed from the shape, or the first, whose
    number is computed."""
    x = e.tensor(node.inputs[0])
    (start,), (axis,) = (e.integers(value) for value in (node.inputs[1], node.inputs[3]))
    axis %= len(x.shape)
    if constant_array(node.inputs[2]) is None:
        return [_first(e, x, axis, start, e.tensor(node.inputs[2]))]
    (end,) = e.integers(node.inputs[2])
    size = x.shape[axis]
    if size == -1:
        if start >= 0 or end < _END:
            raise SpecError("only the last positions of a dynamic size can be taken", where=e.where)
        return [_last(e, x, axis, -start)]
    first = start % size if start < 0 else start
    return [_part(e, x, axis, first, min(end, size) - first)]


def split(e: Emitter, node: ir.Node) -> list[Tensor]:
    """Parts of an axis: equal ones, or as many numbers each as a constant says."""
    x = e.tensor(node.inputs[0])
    axis = node.attributes["axis"].as_int() % len(x.shape)
    if len(node.inputs) > 1:
        sizes = e.integers(node.inputs[1])
    else:
        sizes = [x.shape[axis] // len(node.outputs)] * len(node.outputs)
    return [_part(e, x, axis, sum(sizes[:place]), size) for place, size in enumerate(sizes)]


def gather(e: Emitter, node: ir.Node) -> list[Tensor]:
    """A lookup. A negative constant index counts from the end, which the layer does not know."""
    x, axis = e.tensor(node.inputs[0]), node.attributes["axis"].as_int()
    axis %= len(x.shape)
    index = constant_array(node.inputs[1])
    if index is not None and bool((index < 0).any()):
        if x.shape[axis] == -1:
            raise SpecError("a lookup from the end of a dynamic size is not possible", where=e.where)
        index = index % x.shape[axis]
    where = e.tensor(node.inputs[1]) if index is None else e.constant(index.astype(np.int32), e.trt.int32, "index")
    return [e.layer(e.network.add_gather(x, where, axis))]


def gather_nd(e: Emitter, node: ir.Node) -> list[Tensor]:
    """Rows by several indices each, the last axis of the second operand; behind the first axes of both, where these go
    together."""
    x, where = (e.tensor(value) for value in node.inputs)
    layer = e.network.add_gather_v2(x, where, e.trt.GatherMode.ND)
    together = node.attributes.get("batch_dims")
    if together is not None:
        layer.num_elementwise_dims = together.as_int()
    return [e.layer(layer)]


def expand(e: Emitter, node: ir.Node) -> list[Tensor]:
    """To a computed shape: axes of one number are read again and again, as slices with a step of 0."""
    shape = e.tensor(node.inputs[1])
    rank = int(shape.shape[0])
    x = e.tensor(node.inputs[0], rank)
    layer = e.network.add_slice(x, [0] * rank, [0] * rank, [0 if size == 1 else 1 for size in x.shape])
    layer.set_input(2, shape)
    return [e.layer(layer)]


def pad(e: Emitter, node: ir.Node) -> list[Tensor]:
    """Zeros around one axis, or positions less where a number is below 0: a slice that reaches beyond its operand.

    What is added in front is constant; behind it may be computed, as `Concat` of the two."""
    if node.inputs[2] is not None or node.attributes.get("mode") is not None:
        raise SpecError("only zeros can be put around a tensor", where=e.where)
    x, (axis,) = e.tensor(node.inputs[0]), e.integers(node.inputs[3])
    axis %= len(x.shape)
    pads = node.inputs[1]
    joined = pads.producer() if pads is not None else None
    behind: Tensor | None = None
    if joined is not None and joined.op_type == "Concat":
        (before,), behind = e.integers(joined.inputs[0]), e.tensor(joined.inputs[1])
        more = before
    else:
        before, more = e.integers(pads)
        more += before
    starts = [-before if place == axis else 0 for place in range(len(x.shape))]
    sizes = [size + more if place == axis else size for place, size in enumerate(x.shape)]
    computed = _grown(e, x, axis, more, behind) if behind is not None or -1 in x.shape else None
    layer = e.network.add_slice(x, starts, sizes if computed is None else [0] * len(sizes), [1] * len(sizes))
    layer.mode = e.trt.SampleMode.FILL
    if computed is not None:
        layer.set_input(2, computed)
    return [e.layer(layer)]


def _grown(e: Emitter, x: Tensor, axis: int, more: int, behind: Tensor | None) -> Tensor:
    """The shape of ``x`` with ``more`` on ``axis``, and as many again as the one number of ``behind`` says."""
    chosen = np.array([place == axis for place in range(len(x.shape))], np.int64)
    shape = e.layer(e.network.add_shape(x), "shape")
    if more:
        shape = _shape_term(e, shape, more * chosen, "SUM")
    return shape if behind is None else _added(e, shape, behind, chosen)


def _added(
    e: Emitter, shape: Tensor, number: Tensor, chosen: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
) -> Tensor:
    """``shape`` with a computed ``number`` more on the ``chosen`` axis."""
    more = _shape_term(e, e.layer(e.network.add_cast(number, e.trt.int64), "int64"), chosen, "PROD")
    return e.layer(e.network.add_elementwise(shape, more, e.trt.ElementWiseOperation.SUM), "sizes")


def _part(e: Emitter, x: Tensor, axis: int, start: int, size: int) -> Tensor:
    sizes = list(x.shape)
    starts = [start if place == axis else 0 for place in range(len(sizes))]
    if -1 in sizes:
        wanted = _shape_with(e, x, axis, size)
        layer = e.network.add_slice(x, starts, [0] * len(sizes), [1] * len(sizes))
        layer.set_input(2, wanted)
        return e.layer(layer, "part")
    sizes[axis] = size
    return e.layer(e.network.add_slice(x, starts, sizes, [1] * len(sizes)), "part")


def _first(e: Emitter, x: Tensor, axis: int, start: int, count: Tensor) -> Tensor:
    """As many as the one number of ``count``, which is put between the other sizes as it is: TensorRT does not see that
    0 times a size is nothing, and its expressions of sizes would double with each such slice."""
    rank, others = len(x.shape), [size for place, size in enumerate(x.shape) if place != axis]
    if start or -1 in others:
        raise SpecError("the first positions alone, of one dynamic size, can be a computed number", where=e.where)

    def known(sizes: list[int]) -> list[Tensor]:
        return [e.constant(np.array(sizes, np.int64), e.trt.int64, "sizes")] if sizes else []

    number = e.layer(e.network.add_cast(count, e.trt.int64), "int64")
    joined = e.network.add_concatenation([*known(others[:axis]), number, *known(others[axis:])])
    joined.axis = 0
    sizes = e.layer(joined, "sizes")
    layer = e.network.add_slice(x, [0] * rank, [0] * rank, [1] * rank)
    layer.set_input(2, sizes)
    return e.layer(layer, "first")


def _last(e: Emitter, x: Tensor, axis: int, count: int) -> Tensor:
    rank = len(x.shape)
    chosen = np.array([place == axis for place in range(rank)], np.int64)
    ends = _shape_term(e, e.layer(e.network.add_shape(x), "shape"), chosen, "PROD")
    starts, sizes = _shape_term(e, ends, -count * chosen, "SUM"), _shape_with(e, x, axis, count)
    layer = e.network.add_slice(x, [0] * rank, [0] * rank, [1] * rank)
    layer.set_input(1, starts)
    layer.set_input(2, sizes)
    return e.layer(layer, "last")


def _shape_with(e: Emitter, x: Tensor, axis: int, size: int) -> Tensor:
    """The shape of ``x`` with ``size`` on ``axis``."""
    chosen = np.array([place == axis for place in range(len(x.shape))], np.int64)
    others = _shape_term(e, e.layer(e.network.add_shape(x), "shape"), 1 - chosen, "PROD")
    return _shape_term(e, others, size * chosen, "SUM")


def _shape_term(
    e: Emitter, shape: Tensor, term: np.ndarray[tuple[int, ...], np.dtype[np.int64]], operation: str
) -> Tensor:
    constant = e.constant(term, e.trt.int64, "sizes")
    return e.layer(e.network.add_elementwise(shape, constant, getattr(e.trt.ElementWiseOperation, operation)), "sizes")
