"""The passes from [quantized] to the legal graph of one step of an engine, and which ops are legal there."""

from __future__ import annotations

import onnx_ir as ir

from g4compile.model.config import TextFacts
from g4compile.passes.base import Pass
from g4compile.passes.canonicalize_constants import CanonicalizeConstants
from g4compile.passes.canonicalize_dead_code import CanonicalizeDeadCode
from g4compile.passes.insert_float32_logits import InsertFloat32Logits
from g4compile.passes.insert_top_tokens import InsertTopTokens
from g4compile.passes.legalize import Legalize
from g4compile.passes.lower_moe_to_gather_scatter import GROUPED, LowerMoEToGatherScatter
from g4compile.passes.lower_to_bfloat16 import LowerToBfloat16
from g4compile.passes.schedule_step import ScheduleStep
from g4compile.passes.schedule_tensor_parallel import ScheduleTensorParallel
from g4compile.pipeline import Phase
from g4compile.targets.tensorrt.lowerings import BFLOAT16, FUSED_HEAD, lowerings
from g4compile.targets.tensorrt.network.layers import LAYERS
from g4compile.targets.tensorrt.network.plugin_layers import PLUGIN_LAYERS
from g4compile.targets.tensorrt.quantize_engine_weights import QuantizeEngineWeights
from g4compile.targets.tensorrt.steps import Capacities, Step

# Lookups by token id stand in the legal graph until `split_embedding` takes them out: the host does them.
_HOST = {"Equal", "Or"}
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
        ir.DataType.INT8,
    }
)


def engine_phase(
    target: str,
    facts: TextFacts,
    step: Step,
    capacities: Capacities,
    fused_head: int = FUSED_HEAD,
    weights: str = BFLOAT16,
    rank: int = 0,
    ranks: int = 1,
    plugins: bool = False,
) -> Phase:
    """[quantized] to the legal graph of one step. ``weights``: bfloat16, int4 or fp8. ``rank`` of ``ranks``: which share of a split
    model. ``plugins``: whether kernels of ours can stand in it."""
    batch = capacities.batch if capacities.batch == 1 else 0
    moe = len(facts.layers) if facts.moe else 0
    quantize: tuple[Pass, ...] = () if weights == BFLOAT16 else (QuantizeEngineWeights(form=weights),)
    sums = 2 * len(facts.layers) + moe  # behind attention, the MLP and the experts of every layer
    split: tuple[Pass, ...] = () if ranks == 1 else (ScheduleTensorParallel(ranks=ranks, rank=rank, sums=sums),)
    grouped = capacities.batch * step.tokens[2] if step.experts == GROUPED else 0
    legal = LEGAL_WITH_PLUGINS if plugins else LEGAL
    passes: tuple[Pass, ...] = (
        ScheduleStep(tokens=step.static, keep=step.keep, batch=batch, capacity=capacities.context),
        *split,
        LowerToBfloat16(layers=moe),
        InsertFloat32Logits(),
        InsertTopTokens(),
        *quantize,
        LowerMoEToGatherScatter(layers=moe, form=step.experts, tokens=grouped),
        Legalize(target, legal, lowerings(fused_head, step.flash, capacities.batch, step.tokens[2]), DTYPES),
        CanonicalizeConstants(),
        CanonicalizeDeadCode(),
    )
    return Phase(f"legal:{target}", passes, legal)
