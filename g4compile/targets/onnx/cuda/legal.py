"""What may stand in the graph of ONNX Runtime on CUDA: ops of libg4cuda, and the one stock op that cuts positions. Or,
without kernels of ours, the ops that its CUDA provider has, of those that our graphs hold.

Of each such op the dtypes that its results are computed in there: numbers in float32 or bfloat16, integers, booleans.
Not there in bfloat16 are ArgMax, Round, ReduceMax and NonZero, and Unique never is. Measured on ONNX Runtime 1.31;
source of the rest: onnxruntime, `docs/OperatorKernels.md`, CUDAExecutionProvider.
"""

from __future__ import annotations

import onnx_ir as ir

# fmt: off
LEGAL = frozenset({
    "GatherND", "g4.CachedAttention", "g4.EmbedRows", "g4.EmbedRowsNarrow", "g4.ExpertSum", "g4.NextToken",
    "g4.NormLogits", "g4.NormProduct", "g4.PerLayerInputs", "g4.Product", "g4.RotaryAngles", "g4.RoutedDown",
    "g4.RoutedGateUp", "g4.Router",
})
# fmt: on
_WIDE, _NARROW, _INT, _BOOL = ir.DataType.FLOAT, ir.DataType.BFLOAT16, ir.DataType.INT64, ir.DataType.BOOL
_FLOATS, _NUMBERS, _ANY = (
    frozenset(dtypes) for dtypes in ((_WIDE, _NARROW), (_WIDE, _NARROW, _INT), (_WIDE, _NARROW, _INT, _BOOL))
)
_WIDE_ALONE, _INTS, _BOOLS = frozenset({_WIDE}), frozenset({_INT}), frozenset({_BOOL})
STOCK: dict[str, frozenset[ir.DataType]] = {
    "Add": _NUMBERS,
    "And": _BOOLS,
    "Attention": _FLOATS,
    "Cast": _ANY,
    "Concat": _INTS,
    "Cos": _WIDE_ALONE,
    "Div": _NUMBERS,
    "Equal": _BOOLS,
    "Gather": _ANY,
    "GatherND": _NUMBERS,
    "Gelu": _FLOATS,
    "Greater": _BOOLS,
    "Less": _BOOLS,
    "LessOrEqual": _BOOLS,
    "MatMul": _FLOATS,
    "Min": _INTS,
    "Mod": _INTS,
    "Mul": _NUMBERS,
    "Or": _BOOLS,
    "RMSNormalization": _FLOATS,
    "Range": _INTS,
    "ReduceSum": _WIDE_ALONE,
    "Reshape": _ANY,
    "RotaryEmbedding": _FLOATS,
    "Shape": _INTS,
    "Sin": _WIDE_ALONE,
    "Slice": _NUMBERS,
    "Softmax": _FLOATS,
    "Split": _FLOATS,
    "Squeeze": _ANY,
    "Sub": _NUMBERS,
    "Tanh": _FLOATS,
    "TensorScatter": _FLOATS,
    "TopK": frozenset({_WIDE, _INT}),
    "Transpose": _FLOATS,
    "Unsqueeze": _ANY,
    "Where": _NUMBERS,
    "com.microsoft.FusedMatMul": _FLOATS,
    "com.microsoft.GatherBlockQuantized": _FLOATS,
    "com.microsoft.MatMulNBits": _FLOATS,
}
STOCK_LEGAL = frozenset(STOCK)
STOCK_DTYPES = _ANY
DTYPES = frozenset({ir.DataType.FLOAT, ir.DataType.BFLOAT16, ir.DataType.INT64, ir.DataType.INT32})
