"""From [traced] to the legal graphs of a package: the shared phases, and passes for what onnxruntime-genai feeds."""

from __future__ import annotations

from g4compile.model.config import TextFacts
from g4compile.model.towers import PatchFacts, TowerFacts, VisionFacts
from g4compile.passes.base import Pass
from g4compile.passes.canonicalize_constants import CanonicalizeConstants
from g4compile.passes.canonicalize_dead_code import CanonicalizeDeadCode
from g4compile.passes.legalize import Legalize
from g4compile.passes.lower_moe_to_gather_scatter import LOOP, LowerMoEToGatherScatter
from g4compile.pipeline import Phase
from g4compile.targets.base import REWIND
from g4compile.targets.onnx.genai.insert_clip_axis import InsertClipAxis
from g4compile.targets.onnx.genai.insert_image_runs import InsertImageRuns
from g4compile.targets.onnx.genai.insert_patch_order import InsertPatchOrder
from g4compile.targets.onnx.genai.legal import GENAI_LEGAL
from g4compile.targets.onnx.genai.lower_bound_caches import LowerBoundCaches
from g4compile.targets.onnx.genai.lowerings import GENAI_LOWERINGS
from g4compile.targets.onnx.genai.schedule_last_logits import ScheduleLastLogits
from g4compile.targets.onnx.kernels import OnnxOptions
from g4compile.targets.onnx.legal import DTYPES
from g4compile.targets.onnx.lower_quantized_weights import LowerQuantizedWeights
from g4compile.targets.phases import encoder, frontend, with_image_blocks


def package_phases(target: str, stage: str, facts: TextFacts | TowerFacts, options: OnnxOptions) -> tuple[Phase, ...]:
    """Of the part of ``facts``, for ``target``, whose legal graphs are at ``stage``."""
    weights = options.recipe or options.weights
    if isinstance(facts, TextFacts):
        blocks = facts.image_blocks if "image" in options.modalities else ""
        shared = with_image_blocks(frontend(facts, REWIND, weights=weights), blocks)
        passes = _decoder_passes(facts, blocks, options.image_token)
    else:
        shared, passes = encoder(facts, weights), _encoder_passes(facts)
    last = (
        *passes,
        LowerQuantizedWeights(),
        Legalize(target, GENAI_LEGAL, GENAI_LOWERINGS, DTYPES),
        CanonicalizeConstants(),
        CanonicalizeDeadCode(),
    )
    return (*shared, Phase(stage, last, GENAI_LEGAL))


def _decoder_passes(facts: TextFacts, blocks: str, image: int) -> tuple[Pass, ...]:
    """``blocks``: layers in which the tokens of an image see each other, which are those of id ``image``."""
    window = max((layer.window or 0 for layer in facts.layers), default=0)
    return (
        LowerMoEToGatherScatter(layers=len(facts.layers) if facts.moe else 0, form=LOOP),
        LowerBoundCaches(caches=2 * len(facts.kv_layers), window=window),
        ScheduleLastLogits(),
        *((InsertImageRuns(image),) if blocks else ()),
    )


def _encoder_passes(facts: TowerFacts) -> tuple[Pass, ...]:
    if isinstance(facts, VisionFacts | PatchFacts):
        return (InsertPatchOrder(facts.pool if isinstance(facts, VisionFacts) else 0),)
    return (InsertClipAxis(),)
