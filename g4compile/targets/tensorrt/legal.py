"""Which ops and dtypes may stand in the legal graph of an engine's step."""

from __future__ import annotations

import onnx_ir as ir

from g4compile.targets.tensorrt.network.layers import LAYERS
from g4compile.targets.tensorrt.network.plugin_layers import PLUGIN_LAYERS

# Lookups by token id stand in the legal graph until `split_embedding` takes them out: the host does them.
_HOST = {"Equal"}
LEGAL = frozenset(LAYERS) | _HOST
LEGAL_WITH_PLUGINS = LEGAL | frozenset(PLUGIN_LAYERS)
DTYPES = frozenset(
    {
        ir.DataType.FLOAT,
        ir.DataType.BFLOAT16,
        ir.DataType.INT64,
        ir.DataType.BOOL,
        ir.DataType.FLOAT8E4M3FN,
        ir.DataType.INT4,
        ir.DataType.INT32,
        ir.DataType.UINT8,
    }
)
