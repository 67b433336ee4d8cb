"""Ops that are kernels of ours: plugin layers of full TensorRT, which TensorRT-RTX has not. As in `layers.py`, a rule
an op.

What a rule calls is `tensorrt.plugin`, where `plugins.py` has registered the kernels. Source: NVIDIA,
`tensorrt.plugin`.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from g4compile.ops.expert_down import ExpertDown
from g4compile.ops.expert_gate_up import ExpertGateUp
from g4compile.ops.flash_attention import FlashAttention
from g4compile.targets.tensorrt.network.emitter import Emitter, Tensor
from g4compile.targets.tensorrt.network.layers import Rule
from g4compile.targets.tensorrt.plugins import NAMESPACE


def _plugin(e: Emitter, name: str, operands: list[Tensor], **attributes: int) -> list[Tensor]:
    call = getattr(getattr(e.plugins.op, NAMESPACE), name)(*operands, **attributes)
    return [e.layer(e.network.add_plugin(call, True))]


def _experts(name: str) -> Rule:
    def rule(e: Emitter, node: ir.Node) -> list[Tensor]:
        operands = [e.tensor(value) for value in node.inputs]
        if len(operands) == 4:
            operands.append(
                operands[3]
            )  # a kernel takes as many operands always, and reads no scale of bfloat16 weights
        read, written = node.inputs[0], node.outputs[0]
        assert read is not None and read.shape is not None and written.shape is not None
        sizes = [int(read.shape[-1]), int(written.shape[-1])]  # type: ignore[arg-type]  # widths are static
        width, inner = sizes if name == "expert_gate_up" else reversed(sizes)
        tile, block = (node.attributes[key].as_int() for key in ("tile", "block"))
        return _plugin(e, name, operands, width=width, inner=inner, tile=tile, block=block)

    return rule


def _flash_attention(e: Emitter, node: ir.Node) -> list[Tensor]:
    operands = [e.tensor(value) for value in node.inputs]
    _, heads, _, width = operands[0].shape
    return _plugin(e, "flash_attention", operands, heads=heads, kv_heads=operands[1].shape[1], width=width)


PLUGIN_LAYERS: Mapping[str, Rule] = {
    ExpertDown.name(): _experts("expert_down"),
    ExpertGateUp.name(): _experts("expert_gate_up"),
    FlashAttention.name(): _flash_attention,
}
