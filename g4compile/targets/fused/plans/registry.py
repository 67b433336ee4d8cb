"""Op -> its plan. An op that is not here is ONNX Runtime's own."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from g4compile.ops.schema import DOMAIN
from g4compile.targets.fused.plan import Plan
from g4compile.targets.fused.plans import attention, experts, products, rows

_PLANS: dict[str, Callable[[ir.Node], Plan]] = {
    "CachedAttention": attention.cached_attention,
    "EmbedRows": rows.embed_rows,
    "EmbedRowsNarrow": rows.embed_rows,
    "ExpertSum": experts.expert_sum,
    "NextToken": rows.next_token,
    "NormLogits": products.norm_product,
    "NormProduct": products.norm_product,
    "PerLayerInputs": rows.per_layer_inputs,
    "Product": products.product,
    "RotaryAngles": rows.rotary_angles,
    "RoutedDown": experts.down,
    "RoutedGateUp": experts.gate_up,
    "Router": experts.router,
    "TopTokens": rows.top_tokens,
}


def plan_of(node: ir.Node) -> Plan | None:
    """The plan of ``node``; None for an op of another library."""
    make = _PLANS.get(node.op_type) if node.domain == DOMAIN else None
    return None if make is None else make(node)
