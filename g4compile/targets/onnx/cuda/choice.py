"""The graph `choice` of a bundle: the likeliest tokens of logits that stand on the device, for a choice that is not
always the likeliest one.

    (float32 [batch, kept, V] logits) => (float32 [batch, 64] top_logits, int64 [batch, 64] top_tokens)
    top_logits, top_tokens = g4.TopTokens (logits)

It is a graph of its own, so that it runs where sampling asks for it alone. It has no weights.
"""

from __future__ import annotations

import onnx_ir as ir

from g4compile.bundle.manifest import CHOICE, TOP_TOKENS
from g4compile.errors import Defect
from g4compile.graph.axes import sizes_of
from g4compile.graph.stage import set_stage, stage_of
from g4compile.ops.schema import DOMAIN
from g4compile.targets.fused.operands import INTEGER, WIDE
from g4compile.targets.fused.plans.rows import top_tokens
from g4compile.targets.fused.products import LOGITS


def choice_graph(decoder: ir.Model) -> ir.Model:
    """For the logits of the legal graph ``decoder``."""
    theirs = next((value for value in decoder.graph.outputs if value.name == LOGITS), None)
    if theirs is None:
        raise Defect(f"the decoder has no output {LOGITS}")
    logits = ir.Value(name=LOGITS, type=ir.TensorType(WIDE), shape=ir.Shape(sizes_of(theirs)))
    node = ir.node("TopTokens", [logits], domain=DOMAIN, num_outputs=2, name="TopTokens")
    found, tokens = node.outputs
    for value, name, dtype in ((found, "top_logits", WIDE), (tokens, "top_tokens", INTEGER)):
        value.name, value.type, value.shape = name, ir.TensorType(dtype), ir.Shape([sizes_of(theirs)[0], TOP_TOKENS])
    top_tokens(node).write(node)
    versions = dict(decoder.graph.opset_imports)
    graph = ir.Graph([logits], [found, tokens], nodes=[node], name=CHOICE, opset_imports=versions)
    model = ir.Model(graph, ir_version=decoder.ir_version)
    set_stage(model, stage_of(decoder))
    return model
