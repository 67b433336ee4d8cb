"""Passes: graph to graph, one file each, named as the pass. This page lists them all, in the order they run."""

from __future__ import annotations

from typing import Any

from g4compile.passes.base import Pass
from g4compile.passes.canonicalize_constants import CanonicalizeConstants
from g4compile.passes.canonicalize_dead_code import CanonicalizeDeadCode
from g4compile.passes.canonicalize_embedding_scale import CanonicalizeEmbeddingScale
from g4compile.passes.canonicalize_geglu import CanonicalizeGeGLU
from g4compile.passes.canonicalize_rms_norm import CanonicalizeRMSNorm
from g4compile.passes.canonicalize_token_axes import CanonicalizeTokenAxes
from g4compile.passes.fuse_dual_rope_attention import FuseDualRopeAttention
from g4compile.passes.insert_activation_rounding import InsertActivationRounding
from g4compile.passes.insert_float32_logits import InsertFloat32Logits
from g4compile.passes.insert_top_tokens import InsertTopTokens
from g4compile.passes.insert_windowed_masks import InsertWindowedMasks
from g4compile.passes.lower_moe_to_gather_scatter import LowerMoEToGatherScatter
from g4compile.passes.lower_proportional_rope import LowerProportionalRope
from g4compile.passes.lower_quantized_weights import LowerQuantizedWeights
from g4compile.passes.lower_to_bfloat16 import LowerToBfloat16
from g4compile.passes.quantize_engine_weights import QuantizeEngineWeights
from g4compile.passes.quantize_kv_cache import QuantizeKVCache
from g4compile.passes.quantize_weights import QuantizeWeights
from g4compile.passes.schedule_kv_cache import ScheduleKVCache
from g4compile.passes.schedule_shared_tail import ScheduleSharedTail
from g4compile.passes.schedule_step import ScheduleStep
from g4compile.passes.schedule_tensor_parallel import ScheduleTensorParallel

PASSES: dict[str, type[Any]] = {
    kind.name: kind
    for kind in (
        CanonicalizeConstants,
        CanonicalizeRMSNorm,
        CanonicalizeGeGLU,
        CanonicalizeEmbeddingScale,
        CanonicalizeDeadCode,
        CanonicalizeTokenAxes,
        FuseDualRopeAttention,
        LowerProportionalRope,
        InsertWindowedMasks,
        ScheduleKVCache,
        ScheduleSharedTail,
        QuantizeWeights,
        InsertActivationRounding,
        QuantizeKVCache,
        ScheduleStep,
        ScheduleTensorParallel,
        LowerToBfloat16,
        InsertFloat32Logits,
        InsertTopTokens,
        QuantizeEngineWeights,
        LowerMoEToGatherScatter,
        LowerQuantizedWeights,
    )
}

__all__ = [
    "PASSES",
    "CanonicalizeConstants",
    "CanonicalizeDeadCode",
    "CanonicalizeEmbeddingScale",
    "CanonicalizeGeGLU",
    "CanonicalizeRMSNorm",
    "CanonicalizeTokenAxes",
    "FuseDualRopeAttention",
    "InsertActivationRounding",
    "InsertFloat32Logits",
    "InsertTopTokens",
    "InsertWindowedMasks",
    "LowerMoEToGatherScatter",
    "LowerProportionalRope",
    "LowerQuantizedWeights",
    "LowerToBfloat16",
    "Pass",
    "QuantizeEngineWeights",
    "QuantizeKVCache",
    "QuantizeWeights",
    "ScheduleKVCache",
    "ScheduleSharedTail",
    "ScheduleStep",
    "ScheduleTensorParallel",
]
