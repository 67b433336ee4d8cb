"""Plans of lookups, angles, inputs of layers, and of the likeliest tokens."""

from __future__ import annotations

import onnx_ir as ir

from g4compile.bundle.manifest import TOP_TOKENS
from g4compile.targets.fused.plan import ALWAYS, NULL, Plan
from g4compile.targets.fused.plans.operands import has, last, sizes, value
from g4compile.targets.kernels import row_kernels as kernels

_NONE_KEPT = "i0.1<=0"


def embed_rows(node: ir.Node) -> Plan:
    """Of EmbedRows, and of EmbedRowsNarrow, whose rows are bfloat16."""
    width, table = value(node, "width"), sizes(node, 1)
    pad, holes = value(node, "pad"), tuple(value(node, "placeholders"))
    form = kernels.Table(width, value(node, "scale"), value(node, "bits"), value(node, "block"), holes)
    plan = Plan()
    plan.size(ALWAYS, 0, "i0.0", "i0.1", width)
    kernel = kernels.embed_rows(form, node.op_type == "EmbedRows")
    scales = "i2" if has(node, 2) else NULL
    plan.launch(ALWAYS, kernel, "i0", "i1", scales, "o0", width, table[0], pad, "i0.0*i0.1")
    return plan


def rotary_angles(node: ir.Node) -> Plan:
    half, plan = last(node, 1), Plan()
    plan.size(ALWAYS, 0, "i0.0", "i0.1", 2, half)
    plan.launch(ALWAYS, kernels.rotary_angles(half), "i0", "i1", "o0", half, "i0.0*i0.1")
    return plan


def per_layer_inputs(node: ir.Node) -> Plan:
    width, both, plan = last(node, 2), last(node, 1), Plan()
    kernel = kernels.per_layer_inputs(
        width, value(node, "projection_scale"), value(node, "scale"), value(node, "epsilon")
    )
    plan.size(ALWAYS, 0, "i0.0", "i0.1", both // width, width)
    plan.launch(ALWAYS, kernel, "i0", "i1", "i2", "o0", both // width, "r")
    return plan


def next_token(node: ir.Node) -> Plan:
    """Nothing where no position has logits: what a run before found is not read then."""
    vocabulary, plan = last(node, 0), Plan()
    for condition in (_NONE_KEPT, ALWAYS):
        plan.size(condition, 0, "i0.0", 1)
        plan.size(condition, 1, *(("i0.0", kernels.PIECES, 2) if condition == ALWAYS else ()))
    plan.nothing(_NONE_KEPT)
    piece = -(-vocabulary // kernels.PIECES)
    plan.launch(ALWAYS, kernels.largest_logits(), "i0", "o1", vocabulary, "i0.1", "i0.0", piece)
    plan.launch(ALWAYS, kernels.likeliest(), "o1", "o0", kernels.PIECES, "i0.0")
    return plan


def top_tokens(node: ir.Node) -> Plan:
    vocabulary, plan = last(node, 0), Plan()
    pieces = -(-vocabulary // kernels.TOP_PIECE)
    plan.size(ALWAYS, 0, "i0.0", TOP_TOKENS)
    plan.size(ALWAYS, 1, "i0.0", TOP_TOKENS)
    plan.size(ALWAYS, 2, "i0.0", pieces, TOP_TOKENS)
    plan.launch(ALWAYS, kernels.top_of_pieces(), "i0", "o2", vocabulary, "i0.1", "i0.0")
    plan.launch(ALWAYS, kernels.top_of_all(pieces), "o2", "o0", "o1", pieces * TOP_TOKENS, "i0.0")
    return plan
