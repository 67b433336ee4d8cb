"""The `g4` ops: what a node means. One file an op; this page lists them all."""

from __future__ import annotations

import onnx_ir as ir

from g4compile.ops.all_reduce import ALL_REDUCE
from g4compile.ops.cache_update import CACHE_UPDATE
from g4compile.ops.causal_attention import CAUSAL_ATTENTION
from g4compile.ops.dequantize import DEQUANTIZE
from g4compile.ops.dual_rope_attention import DUAL_ROPE_ATTENTION
from g4compile.ops.expert_products import EXPERT_DOWN, EXPERT_GATE_UP
from g4compile.ops.flash_attention import FLASH_ATTENTION
from g4compile.ops.geglu import GEGLU
from g4compile.ops.linear import LINEAR
from g4compile.ops.masks import CAUSAL_MASK, RING_MASK, WINDOWED_MASK
from g4compile.ops.moe_experts import MOE_EXPERTS
from g4compile.ops.quantize_kv import DEQUANTIZE_KV, QUANTIZE_KV
from g4compile.ops.registry import DOMAIN, OPSET, VERSION, Op
from g4compile.ops.rms_norm import RMS_NORM
from g4compile.ops.rope_key_value import ROPE_KEY_VALUE
from g4compile.ops.round_activations import ROUND_ACTIVATIONS

OPS: dict[str, Op] = {
    op.name: op
    for op in (
        LINEAR,
        RMS_NORM,
        GEGLU,
        CAUSAL_ATTENTION,
        CACHE_UPDATE,
        ROPE_KEY_VALUE,
        DUAL_ROPE_ATTENTION,
        CAUSAL_MASK,
        WINDOWED_MASK,
        RING_MASK,
        MOE_EXPERTS,
        EXPERT_GATE_UP,
        EXPERT_DOWN,
        FLASH_ATTENTION,
        ALL_REDUCE,
        DEQUANTIZE,
        ROUND_ACTIVATIONS,
        QUANTIZE_KV,
        DEQUANTIZE_KV,
    )
}

__all__ = ["DOMAIN", "OPS", "OPSET", "VERSION", "Op", "attach_bodies"]


def attach_bodies(model: ir.Model) -> None:
    """Give ``model`` the body of every `g4` op it uses (and no other), so that any ONNX runtime can run it."""
    model.functions.clear()
    pending = [node.op_identifier() for node in model.graph.all_nodes() if node.domain == DOMAIN]
    while pending:
        identifier = pending.pop()
        if identifier in model.functions:
            continue
        function = OPS[identifier[1]].functions[identifier[2]].clone()
        model.functions[identifier] = function
        pending += [node.op_identifier() for node in function.all_nodes() if node.domain == DOMAIN]
    model.graph.opset_imports[DOMAIN] = VERSION
