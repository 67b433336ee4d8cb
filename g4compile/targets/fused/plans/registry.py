"""Op -> its plan. An op that is not here is of no kernel of ours."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from g4compile.ops.schema import DOMAIN
from g4compile.targets.fused.plan import Plan
from g4compile.targets.fused.plans import attention, experts, products, rows

_PRODUCTS: dict[str, Callable[[ir.Node, bool], Plan]] = {
    "NormLogits": products.norm_product,
    "NormProduct": products.norm_product,
    "Product": products.product,
}
_PLANS: dict[str, Callable[[ir.Node], Plan]] = {
    "CachedAttention": attention.cached_attention,
    "EmbedRows": rows.embed_rows,
    "EmbedRowsNarrow": rows.embed_rows,
    "ExpertSum": experts.expert_sum,
    "FlashAttention": attention.flash_attention,
    "NextToken": rows.next_token,
    "PerLayerInputs": rows.per_layer_inputs,
    "RotaryAngles": rows.rotary_angles,
    "RoutedDown": experts.down,
    "RoutedGateUp": experts.gate_up,
    "Router": experts.router,
    "TopTokens": rows.top_tokens,
}


def plan_of(node: ir.Node, in_tiles: bool = False) -> Plan | None:
    """The plan of ``node``; None for an op of another library. ``in_tiles``: as products have it."""
    if node.domain != DOMAIN:
        return None
    if node.op_type in _PRODUCTS:
        return _PRODUCTS[node.op_type](node, in_tiles)
    return _PLANS[node.op_type](node) if node.op_type in _PLANS else None
