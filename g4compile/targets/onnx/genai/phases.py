"""The passes that make graphs of a package: what stands between [quantized] and `legalize`."""

from __future__ import annotations

from g4compile.model.config import TextFacts
from g4compile.model.towers import TowerFacts
from g4compile.passes.base import Pass
from g4compile.passes.lower_moe_to_gather_scatter import LOOP, LowerMoEToGatherScatter
from g4compile.targets.onnx.genai.lower_bound_caches import LowerBoundCaches
from g4compile.targets.onnx.genai.schedule_last_logits import ScheduleLastLogits
from g4compile.targets.onnx.lower_quantized_weights import LowerQuantizedWeights


def decoder_passes(facts: TextFacts, blocks: str) -> tuple[Pass, ...]:
    """Of the decoder. ``blocks``: layers in which the tokens of an image see each other."""
    return (
        LowerMoEToGatherScatter(layers=len(facts.layers) if facts.moe else 0, form=LOOP),
        LowerBoundCaches(
            caches=2 * len(facts.kv_layers), window=max((layer.window or 0 for layer in facts.layers), default=0)
        ),
        ScheduleLastLogits(),
        LowerQuantizedWeights(),
    )


def encoder_passes(facts: TowerFacts) -> tuple[Pass, ...]:
    """Of an encoder."""
    return (LowerQuantizedWeights(),)
