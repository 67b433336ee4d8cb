"""Ops that are kernels of ours: plugin layers of full TensorRT, which TensorRT-RTX has not. There is a layer for each
kernel that the plan of an op launches."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from g4compile.ops.flash_attention import FlashAttention
from g4compile.ops.schema import DOMAIN
from g4compile.targets.tensorrt.launches import chain
from g4compile.targets.tensorrt.lower_to_plugins import MOST, OPS
from g4compile.targets.tensorrt.network.emitter import Emitter, Tensor
from g4compile.targets.tensorrt.network.layers import Rule


def _launched(e: Emitter, node: ir.Node) -> list[Tensor]:
    """Scratch of ``node`` that its launches do not write is no tensor."""
    tensors = {f"i{place}": e.tensor(value) for place, value in enumerate(node.inputs) if value is not None}
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    most = node.attributes[MOST].as_ints() if MOST in node.attributes else ()  # one kernel serves any number
    for link in chain(node, shapes, most):
        call = e.plugins(link.launch, [tensors[name] for name in link.reads])
        layer = e.network.add_plugin(call, True)
        e.layer(layer, link.launch.kernel.function)
        tensors.update({name: layer.get_output(place) for place, name in enumerate(link.writes)})
    return [tensors.get(f"o{place}") for place in range(len(node.outputs))]


PLUGIN_LAYERS: Mapping[str, Rule] = {
    FlashAttention.name(): _launched,
    **{f"{DOMAIN}.{name}": _launched for name in OPS},
}
