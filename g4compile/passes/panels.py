"""Codes of a weight in panels of rows, as kernels of libg4ops read them where they are mapped."""

from __future__ import annotations

import onnx_ir as ir

from g4compile.ops.dequantize import Dequantize
from g4compile.weights.formats.channel_panels import ChannelPanels, fits_panels
from g4compile.weights.quantized import QuantizedMatrix, QuantizedTensor


def stand_in_panels(dequantize: Dequantize) -> bool:
    """Whether the codes of ``dequantize`` can stand in panels, each code and scale as it is. Not those that are
    computed or given: there are no bytes of ours to lay out."""
    codes = dequantize.codes.const_value
    if not isinstance(codes, QuantizedTensor):
        return False
    return fits_panels((*codes.matrix.leading, codes.matrix.columns), codes.matrix.format)


def lay_out(dequantize: Dequantize) -> None:
    """Let the operands of ``dequantize``, of which `stand_in_panels` holds, be the same codes and scales in panels."""
    old = matrix_of(dequantize)
    if isinstance(old, ChannelPanels):
        return
    panels = ChannelPanels(old.weight, old.format, old.quantizer)
    for part, value in dequantize.inputs.items():
        tensor = QuantizedTensor(panels, part)
        value.const_value, value.shape, value.type = tensor, tensor.shape, ir.TensorType(tensor.dtype)


def matrix_of(dequantize: Dequantize) -> QuantizedMatrix:
    """The weight that ``dequantize``, of which `stand_in_panels` holds, reads."""
    codes = dequantize.codes.const_value
    assert isinstance(codes, QuantizedTensor)
    return codes.matrix
