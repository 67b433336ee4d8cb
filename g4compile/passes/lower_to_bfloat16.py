"""lower-to-bfloat16: activations, weights and caches in bfloat16; what would suffer stays in float32.

Before (all float32):                                   After:
    n  = g4.RMSNorm (x, scale)                              n  = Cast (g4.RMSNorm (x, Cast (scale)))
    x1 = Add (x, y)                                         x1 = Add (x, Cast (y))                (float32)
    s  = Mul (x, 0.70710677)                                s  = Cast (Mul (Cast (x), 0.70710677))
    a  = Mul (position, inv_freq);  c = Cos (a)             c  = Cast (Cos (Mul (position, inv_freq)))
    r  = g4.RMSNorm (x, router.scale)                       r  = g4.RMSNorm (Cast (x), Cast (router.scale))
    p  = Softmax (g4.Linear (r, router.proj))               p  = Softmax (g4.Linear (r, Cast (router.proj)))
    q  = Mul (Reshape (g4.Linear (n, w)), 0.36)             q  = Mul (Reshape (Cast (g4.Linear (n, w))), 0.36)
    o  = g4.RelativeAttention (q, ...)                      o  = g4.RelativeAttention (q, ...)    (float32)

In float32 stay the sum that runs through the layers, which every layer would round again, and norms of it; angles (a
position times a frequency has no room in 8 bits), masks, soft-maxes, and the router from its norm on: near-tie experts
flip when it is rounded. So does the attention of sounds from its projections on, as in Hugging Face. A constant that
bfloat16 cannot hold is multiplied in float32, so that the network means what the model means, and only results are
rounded. Inputs and weights that `wide` names are left as they are: numbers that 8 bits are too few for, or that are
computed with in float32.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import ClassVar

import ml_dtypes
import numpy as np
import onnx_ir as ir

from g4compile.errors import MatchError, SpecError
from g4compile.graph import edit
from g4compile.graph.build import Builder
from g4compile.graph.stage import describe
from g4compile.ops.linear import Linear
from g4compile.ops.moe_experts import MoEExperts
from g4compile.ops.op import Op, Precision
from g4compile.ops.registry import is_arithmetic, is_product, precision, view
from g4compile.ops.relative_attention import RelativeAttention
from g4compile.ops.rms_norm import RMSNorm
from g4compile.ops.schema import DOMAIN
from g4compile.passes.base import expect
from g4compile.weights.references import CheckpointTensor

_WIDE, _NARROW = ir.DataType.FLOAT, ir.DataType.BFLOAT16


@dataclass(frozen=True)
class LowerToBfloat16:
    """``layers``: layers with a router, which stays in float32; None accepts any number. ``wide``: names of inputs and
    weights that stay in float32, a space between them; a `*` stands for anything. Each must be there."""

    name: ClassVar[str] = "lower-to-bfloat16"
    stages: ClassVar[tuple[str, ...]] = ("quantized",)
    layers: int | None = None
    wide: str = ""

    def apply(self, model: ir.Model) -> None:
        graph = model.graph
        kept = self._kept([*graph.inputs, *graph.initializers.values()])
        routers, found = _routers(graph)
        expect(self.name, "routers", found, self.layers, f"no {MoEExperts.name()} is left")
        wide = routers | _sounds(graph)
        for value in [*graph.inputs, *graph.initializers.values()]:
            stored = value.is_graph_input() or isinstance(value.const_value, CheckpointTensor)
            if value.dtype == _WIDE and stored and value not in kept:
                value.type = ir.TensorType(_NARROW)
                if isinstance(value.const_value, CheckpointTensor):
                    value.const_value = value.const_value.in_dtype(_NARROW)
        for node in list(graph):
            self._lower(node, node in wide)

    def _kept(self, values: list[ir.Value]) -> set[ir.Value]:
        """Those of ``values`` that stay in float32. Raises MatchError for a name that none has."""
        kept: set[ir.Value] = set()
        for pattern in self.wide.split():
            named = [value for value in values if fnmatchcase(str(value.name), pattern)]
            if not named:
                raise MatchError(f"no input and no weight is named {pattern}", where=self.name)
            kept.update(named)
        return kept

    def _lower(self, node: ir.Node, wide: bool) -> None:
        """Give ``node`` operands and results in the dtype it is for; ``wide``: it is part of a router, or of what
        stays in float32 as one."""
        op, policy = view(node), precision(node)
        if node.op_type == "Cast" or (op is None and node.domain == DOMAIN):
            return  # an op of a library computes in dtypes of its own
        if op is not None and not wide and policy != Precision.INSIDE_WIDE:
            self._by_schema(op)
            return
        operands = [value for value in node.inputs if value is not None and value.dtype in (_WIDE, _NARROW)]
        if not operands:
            return
        exact = all(_fits(edit.constant_array(value)) for value in operands)
        result = _WIDE if wide or (_stays_wide(policy, operands) and not is_product(node)) else _NARROW
        rounds = is_arithmetic(node) and not exact
        inside = _WIDE if policy == Precision.INSIDE_WIDE or rounds else result
        self._feed(node, [index for index, value in enumerate(node.inputs) if value in operands], inside)
        for value in node.outputs:
            if value.dtype == _WIDE:
                value.type = ir.TensorType(inside)
        if inside != result:
            _round(node)

    def _by_schema(self, op: Op) -> None:
        """An op of ours: activations and weights in bfloat16, masks and shares in float32."""
        for operand in op.operands[: len(op.node.inputs)]:
            self._feed(op.node, [operand.index], {"T": _NARROW, "M": _WIDE}.get(operand.kind))
        for value, result in zip(op.node.outputs, op.results, strict=True):
            if result.kind == "T":
                value.type = ir.TensorType(_NARROW)

    def _feed(self, node: ir.Node, indices: Iterable[int], dtype: ir.DataType | None) -> None:
        """Give ``node`` its float operands in ``dtype``."""
        build = Builder(node)
        for index in indices:
            value = node.inputs[index]
            if dtype is None or value is None or value.dtype not in (_WIDE, _NARROW) or value.dtype == dtype:
                continue
            array = edit.constant_array(value)
            if array is None:
                node.replace_input_with(index, build.cast(value, dtype))
                continue
            if not _fits(array):
                raise SpecError(f"{describe(node)} reads a constant that bfloat16 cannot hold", where=self.name)
            node.replace_input_with(index, build.constant(array, dtype))


def _stays_wide(policy: Precision, operands: list[ir.Value]) -> bool:
    """A norm rounds its result, whatever it reads; other ops stay in float32 when they read it."""
    if policy == Precision.INSIDE_WIDE:
        return False
    computed = (value for value in operands if edit.constant_array(value) is None)
    return policy == Precision.WIDE or any(value.dtype == _WIDE for value in computed)


def _routers(graph: ir.Graph) -> tuple[set[ir.Node], int]:
    """What the experts' indices and shares are computed by, from a norm on; and how many layers have experts."""
    routers: set[ir.Node] = set()
    sites = MoEExperts.all_in(graph)
    pending = [value.producer() for site in sites for value in (site.index, site.weight)]
    while pending:
        node = pending.pop()
        if node is None or node in routers:
            continue
        routers.add(node)
        if not RMSNorm.matches(node):
            pending += [value.producer() for value in node.inputs if value is not None]
    return routers, len(sites)


def _sounds(graph: ir.Graph) -> set[ir.Node]:
    """The attention of sounds, and what it reads as far as products of activations."""
    found = set[ir.Node]()
    pending: list[ir.Node | None] = [op.node for op in RelativeAttention.all_in(graph)]
    while pending:
        node = pending.pop()
        if node is None or node in found or (Linear.matches(node) and Linear(node).x.producer() is not None):
            continue
        found.add(node)
        pending += [value.producer() for value in node.inputs if value is not None]
    return found


def _fits(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None) -> bool:
    if array is None or array.dtype != np.float32:
        return True
    return bool((array.astype(ml_dtypes.bfloat16).astype(np.float32) == array).all())


def _round(node: ir.Node) -> None:
    """Readers of ``node`` read its result in bfloat16."""
    (output,), graph = node.outputs, Builder(node).graph
    readers = list(output.uses())
    cast = ir.node("Cast", [output], {"to": int(_NARROW)}, name=f"{edit.module_of(node)}/Cast")
    cast.outputs[0].shape, cast.outputs[0].type = output.shape, ir.TensorType(_NARROW)
    graph.insert_after(node, cast)
    for reader, index in readers:
        reader.replace_input_with(index, cast.outputs[0])
