"""The passes that make graphs of a package: what stands between [quantized] and `legalize`."""

from __future__ import annotations

from g4compile.model.config import TextFacts
from g4compile.model.towers import PatchFacts, TowerFacts, VisionFacts
from g4compile.passes.base import Pass
from g4compile.passes.lower_moe_to_gather_scatter import LOOP, LowerMoEToGatherScatter
from g4compile.targets.onnx.genai.insert_clip_axis import InsertClipAxis
from g4compile.targets.onnx.genai.insert_image_runs import InsertImageRuns
from g4compile.targets.onnx.genai.insert_patch_order import InsertPatchOrder
from g4compile.targets.onnx.genai.lower_bound_caches import LowerBoundCaches
from g4compile.targets.onnx.genai.schedule_last_logits import ScheduleLastLogits
from g4compile.targets.onnx.lower_quantized_weights import LowerQuantizedWeights


def decoder_passes(facts: TextFacts, blocks: str, image: int) -> tuple[Pass, ...]:
    """Of the decoder. ``blocks``: layers in which the tokens of an image see each other, which are those of id
    ``image``."""
    window = max((layer.window or 0 for layer in facts.layers), default=0)
    return (
        LowerMoEToGatherScatter(layers=len(facts.layers) if facts.moe else 0, form=LOOP),
        LowerBoundCaches(caches=2 * len(facts.kv_layers), window=window),
        ScheduleLastLogits(),
        *((InsertImageRuns(image),) if blocks else ()),
        LowerQuantizedWeights(),
    )


def encoder_passes(facts: TowerFacts) -> tuple[Pass, ...]:
    """Of an encoder."""
    if isinstance(facts, VisionFacts | PatchFacts):
        return InsertPatchOrder(facts.pool if isinstance(facts, VisionFacts) else 0), LowerQuantizedWeights()
    return InsertClipAxis(), LowerQuantizedWeights()
