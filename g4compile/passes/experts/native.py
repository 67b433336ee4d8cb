"""The experts as one op of libg4ops: it gathers tokens by expert, multiplies, and adds up with their weights.

    y = g4.QMoEExperts (x, index, weight, gate_up_codes, gate_up_scales, down_codes, down_scales, zero points)

It reads panels of codes where they are mapped, and pages of experts that no token chose are not touched. Where codes do
not stand in panels (float32 experts, rows that fill no panel, block scales that bfloat16 does not hold), there is no
such op. Source: `native/README.md`, `native/LAYERS.md`.
"""

from __future__ import annotations

import onnx_ir as ir

from g4compile.graph.build import Builder
from g4compile.ops.dequantize import Dequantize
from g4compile.ops.moe_experts import MoEExperts
from g4compile.ops.schema import DOMAIN
from g4compile.passes.panels import lay_out, matrix_of, stand_in_panels


def native_experts(node: MoEExperts, build: Builder) -> ir.Value | None:
    """What stands for the output of ``node``; None where its codes do not stand in panels."""
    gate_up, down = Dequantize.producing(node.gate_up), Dequantize.producing(node.down)
    if gate_up is None or down is None or not (stand_in_panels(gate_up) and stand_in_panels(down)):
        return None
    lay_out(gate_up)
    lay_out(down)
    wide, narrow = matrix_of(gate_up), matrix_of(down)
    rounded = gate_up.activation_bits == down.activation_bits == 8  # one rule that says float32 holds for both
    experts, doubled = wide.leading
    attributes = {
        "experts": experts,
        "H": wide.columns,
        "I": doubled // 2,
        "gate_up_bits": gate_up.bits,
        "gate_up_block": wide.format.block,
        "down_bits": down.bits,
        "down_block": narrow.format.block,
        "activations": "int8" if rounded else "float32",
    }
    zeros = [gate_up.zero_points, down.zero_points]
    operands = [gate_up.codes, gate_up.scales, down.codes, down.scales, *(zeros if any(zeros) else [])]
    made = ir.node("QMoEExperts", [node.x, node.index, node.weight, *operands], attributes, domain=DOMAIN)
    made.outputs[0].type, made.outputs[0].shape = node.out.type, node.out.shape
    for dequantize in (gate_up, down):  # nobody else can read the panels
        for reader, index in list(dequantize.weight.uses()):
            reader.replace_input_with(index, None)
        dequantize.remove()
    return build.insert(made)[0]
