"""What may stand in the graph of ONNX Runtime on CUDA: ops of libg4cuda, and the one stock op that cuts positions."""

from __future__ import annotations

import onnx_ir as ir

# fmt: off
LEGAL = frozenset({
    "GatherND", "g4.CachedAttention", "g4.EmbedRows", "g4.EmbedRowsNarrow", "g4.ExpertSum", "g4.NextToken",
    "g4.NormLogits", "g4.NormProduct", "g4.PerLayerInputs", "g4.Product", "g4.RotaryAngles", "g4.RoutedDown",
    "g4.RoutedGateUp", "g4.Router",
})
# fmt: on
DTYPES = frozenset({ir.DataType.FLOAT, ir.DataType.BFLOAT16, ir.DataType.INT64, ir.DataType.INT32})
