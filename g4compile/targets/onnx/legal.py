"""Which ops and dtypes ONNX Runtime's CPU provider runs, of those that our graphs hold."""

from __future__ import annotations

import onnx_ir as ir

# fmt: off
LEGAL = frozenset({
    "Abs", "Add", "And", "Attention", "Cast", "CastLike", "Clip", "Concat", "Conv", "Cos", "Div", "Equal",
    "Expand", "Gather", "GatherND", "Gelu", "Gemm", "Greater", "Identity", "LayerNormalization", "LessOrEqual",
    "Loop", "MatMul", "Mod", "Mul", "Neg", "NonZero", "Or", "Pad", "RMSNormalization", "Range", "ReduceMax",
    "ReduceSum", "Relu", "Reshape", "RotaryEmbedding", "Round", "ScatterND", "Shape", "Sigmoid", "Sin", "Slice",
    "Softmax", "Softplus", "Split", "Squeeze", "Sub", "Tanh", "TensorScatter", "TopK", "Transpose", "Unique",
    "Unsqueeze", "Where", "com.microsoft.MatMulNBits", "com.microsoft.GatherBlockQuantized",
})
# fmt: on
DTYPES = frozenset({ir.DataType.FLOAT, ir.DataType.INT64, ir.DataType.BOOL, ir.DataType.INT8})
# With the library libg4ops beside it: its ops, the bytes of packed activations, and caches of bfloat16.
# fmt: off
G4OPS_LEGAL = frozenset({
    "g4.Attention", "g4.CacheWrite", "g4.EncoderAttention", "g4.LayerGate", "g4.NormAdd", "g4.NormHeads",
    "g4.NormQuantize", "g4.QGather", "g4.QGeGLU", "g4.QLinear", "g4.QMoEExperts", "g4.QuantizeActivations",
})
# fmt: on
G4OPS_DTYPES = frozenset({ir.DataType.UINT8, ir.DataType.BFLOAT16})
