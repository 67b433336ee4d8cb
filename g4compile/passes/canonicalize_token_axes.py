"""canonicalize-token-axes: tokens stay [batch, new, ...]; nothing is flattened to [batch*new, ...].

Before:                                                  After:
    v0 = Reshape (x, [-1, 64])                               v1 = g4.RMSNorm (x)
    v1 = g4.RMSNorm (v0)                                     y  = g4.MoEExperts (v1, ...)
    v2 = g4.MoEExperts (v1, ...)
    y  = Reshape (v2, Concat (Shape (input_ids), [64]))

The router and the experts work on flat tokens in the model's code. All their ops act on the last axis, so they
mean the same on unflattened tokens; later passes can then tell which axis counts tokens. A flattened value
that reaches an op that is not known to act on the last axis alone is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from g4compile.errors import MatchError
from g4compile.graph import edit
from g4compile.graph.axes import sizes_of
from g4compile.graph.stage import describe
from g4compile.passes.token_axis import along_last_axis, keeps_leading_axes


@dataclass(frozen=True)
class CanonicalizeTokenAxes:
    name: ClassVar[str] = "canonicalize-token-axes"
    stages: ClassVar[tuple[str, ...]] = ("traced",)

    def apply(self, model: ir.Model) -> None:
        for node in list(model.graph):
            if node.op_type != "Reshape" or not _flattens(node):
                continue
            source, flat = node.inputs[0], node.outputs[0]
            self._unflatten(flat, sizes_of(source)[:-1])
            if source is not None:
                edit.replace(flat, source)

    def _unflatten(self, flat: ir.Value, leading: list[int | ir.SymbolicDim]) -> None:
        """Give every value computed from the flat tokens its token axes back, until a Reshape does it itself."""
        pending, seen = [flat], set()
        while pending:
            for node in pending.pop().consumers():
                if node in seen:
                    continue
                seen.add(node)
                restored = _restored(node)
                if restored is not None:
                    edit.replace(node.outputs[0], restored)
                    continue
                if not _on_last_axis(node):
                    raise MatchError(
                        f"flattened tokens reach {describe(node)}, which may act on more than the last axis",
                        where=self.name,
                    )
                for value in node.outputs:
                    value.shape = ir.Shape([*leading, *sizes_of(value)[1:]])
                    pending.append(value)


def _flattens(node: ir.Node) -> bool:
    target, source = edit.constant_array(node.inputs[1]), node.inputs[0]
    return (
        target is not None
        and len(target) == 2
        and target[0] == -1
        and source is not None
        and source.shape is not None
        and len(source.shape) == 3
    )


def _restored(node: ir.Node) -> ir.Value | None:
    """What a Reshape back to [batch, new, ...] reads: its target is computed from the shape of the token ids."""
    target = node.inputs[1] if node.op_type == "Reshape" else None
    producer = target.producer() if target is not None else None
    return node.inputs[0] if producer is not None and producer.op_type == "Concat" else None


def _on_last_axis(node: ir.Node) -> bool:
    if node.op_type == "Gather":
        return node.attributes["axis"].as_int() == 0 and node.inputs[0] is not None and node.inputs[0].is_initializer()
    return keeps_leading_axes(node) or along_last_axis(node)
