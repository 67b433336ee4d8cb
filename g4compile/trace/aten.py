"""ATen op -> ONNX node: one rule each. Rules keep the meaning and the dtype; they optimise nothing.

A rule gets the importer, the FX node, and its arguments with tensors as `ir.Value`. Negative axes throughout
where the source has them counted from the end, so that rank-agnostic passes can match.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_ir as ir
import torch

from g4compile.errors import Defect
from g4compile.ops.axial_rope import AxialRope
from g4compile.ops.bidirectional_attention import BidirectionalAttention
from g4compile.ops.cache_update import CacheUpdate
from g4compile.ops.causal_attention import CausalAttention
from g4compile.ops.linear import Linear
from g4compile.ops.moe_experts import MoEExperts
from g4compile.trace.importer import Importer, Scalar
from g4compile.trace.rules import RULES, from_end, operand, rank, rule

_MAX = 2**63 - 1


def _binary(op_type: str) -> Callable[..., Any]:
    def imported(i: Importer, node: torch.fx.Node, left: Any, right: Any, alpha: Scalar = 1) -> ir.Value:
        if alpha != 1:
            raise Defect(f"{node.target} with alpha {alpha} is not imported")
        dtype = i.dtype(node.meta["val"])
        value: ir.Value = i.op(op_type, [operand(i, left, dtype), operand(i, right, dtype)])
        return value

    return imported


def _in_place(op_type: str) -> Callable[..., Any]:
    out_of_place = _binary(op_type)

    def imported(i: Importer, node: torch.fx.Node, left: Any, right: Any) -> ir.Value:
        """The mutated tensor is the result from here on: later readers of its name get the new value."""
        mutated = node.args[0]
        assert isinstance(mutated, torch.fx.Node)
        _check_no_live_view(i, node, mutated)
        value: ir.Value = out_of_place(i, node, left, right)
        i.values[mutated] = value
        return value

    return imported


def _check_no_live_view(i: Importer, node: torch.fx.Node, mutated: torch.fx.Node) -> None:
    """A view made before the mutation and read after it would see the new data in torch, the old in the graph."""
    storage = mutated.meta["val"].untyped_storage()._cdata
    for other in i.values:
        seen = other.meta.get("val")
        if other is mutated or not isinstance(seen, torch.Tensor) or seen.untyped_storage()._cdata != storage:
            continue
        late = [user.name for user in other.users if user not in i.values and user is not node]
        if late:
            raise Defect(f"{node.target} changes {mutated.name}, whose view {other.name} is read later by {late[0]}")


for _name, _onnx in (("mul", "Mul"), ("add", "Add"), ("sub", "Sub"), ("div", "Div")):
    RULES[f"aten.{_name}.Tensor"] = _binary(_onnx)
    RULES[f"aten.{_name}_.Tensor"] = _in_place(_onnx)


@rule("aten.alias.default", "aten.contiguous.default", "aten.clone.default", "aten.detach.default")
def _same(i: Importer, node: torch.fx.Node, value: ir.Value, **_: Any) -> ir.Value:
    return value


@rule("aten._assert_tensor_metadata.default")
def _nothing(i: Importer, node: torch.fx.Node, *_: Any, **__: Any) -> None:
    return None


@rule("aten.to.dtype", "aten.type_as.default", "aten.to.dtype_layout", "aten.to.device")
def _cast(i: Importer, node: torch.fx.Node, value: ir.Value, *_: Any, **__: Any) -> ir.Value:
    return operand(i, value, i.dtype(node.meta["val"]))


@rule("aten.sym_size.int")
def _size(i: Importer, node: torch.fx.Node, value: ir.Value, axis: int) -> Any:
    return node.meta["val"]


@rule("aten.neg.default", "aten.cos.default", "aten.sin.default", "aten.tanh.default", "aten.relu.default")
def _unary(i: Importer, node: torch.fx.Node, value: ir.Value) -> ir.Value:
    out: ir.Value = i.op(str(node.target).split(".")[1].capitalize(), [value])
    return out


@rule("aten.eq.Scalar")
def _equal(i: Importer, node: torch.fx.Node, value: ir.Value, other: Scalar) -> ir.Value:
    assert value.dtype is not None
    out: ir.Value = i.op("Equal", [value, i.constant(other, value.dtype)])
    return out


@rule("aten.bitwise_or.Tensor", "aten.__or__.Tensor")
def _or(i: Importer, node: torch.fx.Node, left: ir.Value, right: ir.Value) -> ir.Value:
    out: ir.Value = i.op("Or", [left, right])
    return out


@rule("aten.where.ScalarSelf", "aten.where.self")
def _where(i: Importer, node: torch.fx.Node, condition: ir.Value, yes: Any, no: Any) -> ir.Value:
    dtype = i.dtype(node.meta["val"])
    out: ir.Value = i.op("Where", [condition, operand(i, yes, dtype), operand(i, no, dtype)])
    return out


@rule("aten.pow.Tensor_Scalar")
def _pow(i: Importer, node: torch.fx.Node, value: ir.Value, exponent: Scalar) -> ir.Value:
    out: ir.Value = i.op("Pow", [value, i.constant(float(exponent), i.dtype(node.meta["val"]))])
    return out


@rule("aten.mean.dim", "aten.sum.dim_IntList")
def _reduce(i: Importer, node: torch.fx.Node, value: ir.Value, axes: list[int], keep: bool = False) -> ir.Value:
    op_type = "ReduceMean" if "mean" in str(node.target) else "ReduceSum"
    last = [from_end(axis, rank(value)) for axis in axes]
    out: ir.Value = i.op(op_type, [value, i.constant(last)], {"keepdims": int(keep)})
    return out


@rule("aten.gelu.default")
def _gelu(i: Importer, node: torch.fx.Node, value: ir.Value, approximate: str = "none") -> ir.Value:
    out: ir.Value = i.op("Gelu", [value], {"approximate": approximate})
    return out


@rule("aten.softmax.int")
def _softmax(
    i: Importer, node: torch.fx.Node, value: ir.Value, axis: int, dtype: torch.dtype | None = None
) -> ir.Value:
    wide = operand(i, value, i.dtype(node.meta["val"]))
    out: ir.Value = i.op("Softmax", [wide], {"axis": from_end(axis, rank(value))})
    return out


@rule("aten.topk.default")
def _topk(
    i: Importer,
    node: torch.fx.Node,
    value: ir.Value,
    k: int,
    axis: int = -1,
    largest: bool = True,
    is_sorted: bool = True,
) -> Any:
    attributes = {"axis": from_end(axis, rank(value)), "largest": int(largest), "sorted": int(is_sorted)}
    return i.op("TopK", [value, i.constant([k])], attributes, count=2)


@rule("aten.linear.default")
def _linear(i: Importer, node: torch.fx.Node, x: ir.Value, weight: ir.Value, bias: ir.Value | None = None) -> ir.Value:
    out = i.ours(Linear, x, weight)
    return out if bias is None else i.op("Add", [out, bias])


@rule("aten.embedding.default")
def _embedding(i: Importer, node: torch.fx.Node, weight: ir.Value, indices: ir.Value, *_: Any) -> ir.Value:
    out: ir.Value = i.op("Gather", [weight, indices], {"axis": 0})
    return out


@rule("aten.index.Tensor")
def _index(i: Importer, node: torch.fx.Node, value: ir.Value, indices: list[ir.Value | None]) -> ir.Value:
    """By one tensor: rows. By two, of which one is a vector along the last axis of the other: rows of two axes."""
    given = [index for index in indices if index is not None]
    if len(given) != len(indices) or len(given) > 2:
        raise Defect("only indexing the first axis by one tensor, or the first two by one each, is imported")
    if len(given) == 1:
        out: ir.Value = i.op("Gather", [value, given[0]], {"axis": 0})
        return out
    whole = max(given, key=rank)
    like = node.meta["val"][..., 0]
    sizes = i.op("Shape", [whole], like=torch.empty(rank(whole), dtype=torch.int64))
    ids = torch.empty_like(like, dtype=torch.int64)
    columns = []
    for index in given:
        full = index if index is whole else i.op("Expand", [index, sizes], like=ids)
        columns.append(i.op("Unsqueeze", [full, i.constant([-1])], like=ids[..., None]))
    pairs = i.op("Concat", columns, {"axis": -1}, like=torch.stack([ids, ids], -1))
    found: ir.Value = i.op("GatherND", [value, pairs])
    return found


@rule("aten.arange.default")
def _arange(i: Importer, node: torch.fx.Node, end: Any, **_: Any) -> ir.Value:
    if not isinstance(end, int):
        raise Defect("only a range of a fixed length is imported")
    return i.constant(list(range(end)))


@rule("aten.clamp.Tensor")
def _clip(i: Importer, node: torch.fx.Node, value: ir.Value, low: ir.Value, high: ir.Value) -> ir.Value:
    out: ir.Value = i.op("Clip", [value, low, high])
    return out


@rule("aten.layer_norm.default")
def _layer_norm(
    i: Importer,
    node: torch.fx.Node,
    value: ir.Value,
    shape: list[int],
    weight: ir.Value,
    bias: ir.Value | None,
    epsilon: float = 1e-5,
    *_: Any,
) -> ir.Value:
    attributes = {"axis": -len(shape), "epsilon": epsilon}
    operands = [value, weight] if bias is None else [value, weight, bias]
    out: ir.Value = i.op("LayerNormalization", operands, attributes)
    return out


@rule("aten.select.int")
def _select(i: Importer, node: torch.fx.Node, value: ir.Value, axis: int, index: int) -> ir.Value:
    out: ir.Value = i.op("Gather", [value, i.constant(index)], {"axis": from_end(axis, rank(value))})
    return out


@rule("aten.slice.Tensor")
def _slice(
    i: Importer, node: torch.fx.Node, value: ir.Value, axis: int = 0, start: Any = None, end: Any = None, step: int = 1
) -> ir.Value:
    if (start or 0) == 0 and (end is None or end == _MAX) and step == 1:
        return value
    bounds = [
        i.constant([start or 0]),
        i.constant([_MAX if end is None else end]),
        i.constant([from_end(axis, rank(value))]),
    ]
    steps = [] if step == 1 else [i.constant([step])]
    out: ir.Value = i.op("Slice", [value, *bounds, *steps])
    return out


@rule("aten.cat.default")
def _cat(i: Importer, node: torch.fx.Node, values: list[ir.Value], axis: int = 0) -> ir.Value:
    out: ir.Value = i.op("Concat", values, {"axis": from_end(axis, rank(values[0]))})
    return out


@rule("aten.unsqueeze.default")
def _unsqueeze(i: Importer, node: torch.fx.Node, value: ir.Value, axis: int) -> ir.Value:
    out: ir.Value = i.op("Unsqueeze", [value, i.constant([from_end(axis, rank(value) + 1)])])
    return out


@rule("aten.transpose.int")
def _transpose(i: Importer, node: torch.fx.Node, value: ir.Value, first: int, second: int) -> ir.Value:
    order = list(range(rank(value)))
    order[first], order[second] = order[second], order[first]
    out: ir.Value = i.op("Transpose", [value], {"perm": order})
    return out


@rule("aten.view.default", "aten.reshape.default", "aten.flatten.using_ints")
def _reshape(i: Importer, node: torch.fx.Node, value: ir.Value, *_: Any) -> ir.Value:
    """Sizes equal to the operand's become 0 (copy); one other dynamic size becomes -1; more need `Shape`."""
    source = node.args[0]
    assert isinstance(source, torch.fx.Node)
    before, after = i.dims(source.meta["val"]), i.dims(node.meta["val"])
    target: list[int] = []
    for axis, size in enumerate(after):
        if isinstance(size, int):
            target.append(size)
        elif axis < len(before) and before[axis] == size:
            target.append(0)
        elif -1 not in target:
            target.append(-1)
        else:
            return _reshape_dynamic(i, node, value, after)
    out: ir.Value = i.op("Reshape", [value, i.constant(target)])
    return out


def _reshape_dynamic(i: Importer, node: torch.fx.Node, value: ir.Value, sizes: list[int | str]) -> ir.Value:
    """[B*S, H] -> [B, S, H]."""
    out: ir.Value = i.op("Reshape", [value, _sizes(i, node, sizes)])
    return out


def _sizes(i: Importer, node: torch.fx.Node, sizes: list[int | str]) -> ir.Value:
    """A shape as a value: its leading sizes are those of the token ids, the rest is fixed."""
    tokens = i.inputs[0]
    leading = 0
    while leading < rank(tokens) and sizes[leading] == str((tokens.shape or ())[leading]):
        leading += 1
    fixed = [size for size in sizes[leading:] if isinstance(size, int)]
    if leading == 0 or leading + len(fixed) != len(sizes):
        raise Defect(f"{node.target} to the sizes {sizes} is not imported")
    start = i.op("Shape", [tokens], {"start": 0, "end": leading}, like=torch.empty(leading, dtype=torch.int64))
    like = torch.empty(len(sizes), dtype=torch.int64)
    out: ir.Value = i.op("Concat", [start, i.constant(fixed)], {"axis": 0}, like=like)
    return out


@rule("aten.expand.default")
def _expand(i: Importer, node: torch.fx.Node, value: ir.Value, _: Any) -> ir.Value:
    out: ir.Value = i.op("Expand", [value, _sizes(i, node, i.dims(node.meta["val"]))])
    return out


@rule("aten.matmul.default")
def _outer(i: Importer, node: torch.fx.Node, left: ir.Value, right: ir.Value) -> ir.Value:
    """[..., M, 1] times [..., 1, N]: an outer product (frequencies by positions), which is a broadcast product."""
    if left.shape is None or right.shape is None or left.shape[-1] != 1 or right.shape[-2] != 1:
        raise Defect("only a matmul that is an outer product is imported; projections are aten.linear")
    out: ir.Value = i.op("Mul", [left, right])
    return out


@rule("g4.attention.default")
def _attention(
    i: Importer, node: torch.fx.Node, query: ir.Value, key: ir.Value, value: ir.Value, scale: float, window: int
) -> ir.Value:
    return i.ours(CausalAttention, query, key, value, scale=scale, window=window)


@rule("g4.bidirectional_attention.default")
def _bidirectional(
    i: Importer, node: torch.fx.Node, query: ir.Value, key: ir.Value, value: ir.Value, scale: float
) -> ir.Value:
    return i.ours(BidirectionalAttention, query, key, value, scale=scale)


@rule("g4.axial_rope.default")
def _axial_rope(i: Importer, node: torch.fx.Node, x: ir.Value, cos: ir.Value, sin: ir.Value) -> ir.Value:
    return i.ours(AxialRope, x, cos, sin)


@rule("g4.cache_update.default")
def _cache_update(i: Importer, node: torch.fx.Node, new: ir.Value, past: ir.Value) -> ir.Value:
    return i.ours(CacheUpdate, new, past)


@rule("g4.moe_experts.default")
def _moe_experts(i: Importer, node: torch.fx.Node, *operands: ir.Value) -> ir.Value:
    return i.ours(MoEExperts, *operands)
