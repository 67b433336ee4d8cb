"""The pass list every target shares: [traced] to [quantized], its expectations filled in from the config."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from g4compile.bundle.kv import FLOAT32
from g4compile.model.config import FULL, TextFacts
from g4compile.model.inventory import GATE, LOOKUP, NORM, PRODUCT, inventory, scale_free_norms
from g4compile.model.towers import AudioFacts, TowerFacts, VisionFacts
from g4compile.passes.base import Pass
from g4compile.passes.canonicalize_constants import CanonicalizeConstants
from g4compile.passes.canonicalize_dead_code import CanonicalizeDeadCode
from g4compile.passes.canonicalize_embedding_scale import CanonicalizeEmbeddingScale
from g4compile.passes.canonicalize_geglu import CanonicalizeGeGLU
from g4compile.passes.canonicalize_rms_norm import CanonicalizeRMSNorm
from g4compile.passes.canonicalize_token_axes import CanonicalizeTokenAxes
from g4compile.passes.fuse_dual_rope_attention import FuseDualRopeAttention
from g4compile.passes.insert_activation_rounding import InsertActivationRounding
from g4compile.passes.insert_windowed_masks import InsertWindowedMasks
from g4compile.passes.lower_proportional_rope import LowerProportionalRope
from g4compile.passes.quantize_kv_cache import QuantizeKVCache
from g4compile.passes.quantize_weights import QuantizeWeights
from g4compile.passes.schedule_kv_cache import ScheduleKVCache
from g4compile.passes.schedule_shared_tail import ScheduleSharedTail
from g4compile.pipeline import Phase
from g4compile.weights.recipe import Recipe
from g4compile.weights.stored import STORED

_VISION_NORMS = 7  # of a layer: four around attention and MLP, those of queries, keys and values
_AUDIO_NORMS = 9  # of a layer: two of each feed-forward, two of the convolution, two around attention, and the last


def canonical(facts: TextFacts) -> Phase:
    """Norms and gated units as one op each, constants folded, tokens unflattened."""
    roles = Counter(weight.role for weight in inventory(facts))
    return Phase.to(
        "canonical",
        CanonicalizeConstants(),
        CanonicalizeRMSNorm(norms=roles[NORM] + len(scale_free_norms(facts))),
        CanonicalizeGeGLU(gates=roles[GATE]),
        CanonicalizeDeadCode(),
        CanonicalizeEmbeddingScale(tables=roles[LOOKUP]),
        CanonicalizeTokenAxes(),
        CanonicalizeDeadCode(),
    )


def with_image_blocks(phases: Sequence[Phase], blocks: str) -> tuple[Phase, ...]:
    """``phases`` of a decoder in whose masks tokens of an image see each other, as `InsertWindowedMasks` has it."""

    def seeing(one: Pass) -> Pass:
        return replace(one, blocks=blocks) if isinstance(one, InsertWindowedMasks) else one

    return tuple(replace(phase, passes=tuple(map(seeing, phase.passes))) for phase in phases)


def encoder(facts: TowerFacts, weights: Recipe | str = FLOAT32, product_scales: str = FLOAT32) -> tuple[Phase, ...]:
    """All phases of an encoder up to [quantized]; ``weights`` and ``product_scales`` as `quantized` has them."""
    gates = facts.layers if isinstance(facts, VisionFacts) else 0
    norms = _VISION_NORMS * gates + (_AUDIO_NORMS * facts.layers if isinstance(facts, AudioFacts) else 0)
    canonical = Phase.to(
        "canonical",
        CanonicalizeConstants(),
        CanonicalizeRMSNorm(norms=norms + 1),  # one of the projection
        CanonicalizeGeGLU(gates=gates),
        CanonicalizeDeadCode(),
    )
    middle = (Phase.to(stage) for stage in ("fused", "scheduled"))
    return (canonical, *middle, Phase.to("quantized", *_quantizers(weights, product_scales)))


def fused(facts: TextFacts) -> Phase:
    """One attention op a layer, one key-value op a layer that owns KV."""
    return Phase.to(
        "fused", FuseDualRopeAttention(layers=len(facts.layers), producers=len(facts.kv_layers)), CanonicalizeDeadCode()
    )


def scheduled(
    facts: TextFacts, rewind: int, shared_tail: bool = True, ring: int = 0, rotate_first: bool = False
) -> Phase:
    """Masks, cache layout, and which positions are computed where. ``ring``: slots of sliding layers written in place;
    0 for windows that move. ``rotate_first``: heads are reordered for kernels that rotate the first dimensions."""
    layers, owners = len(facts.layers), len(facts.kv_layers)
    full = sum(layer.kind == FULL for layer in facts.layers)
    passes: list[Pass] = [LowerProportionalRope(layers=full)] if rotate_first else []
    passes += [InsertWindowedMasks(layers=layers), ScheduleKVCache(rewind=rewind, caches=2 * owners, ring=ring)]
    linears = sum(weight.tail and weight.role in (PRODUCT, GATE) for weight in inventory(facts))
    tail: list[Pass] = [ScheduleSharedTail(linears=linears)] if shared_tail else []
    return Phase.to("scheduled", *passes, *tail, CanonicalizeDeadCode())


def quantized(facts: TextFacts, weights: Recipe | str, kv: str, product_scales: str = "float32") -> Phase:
    """Weights as ``weights`` says: float32, stored (the checkpoint's own codes), a recipe, or its name or file, with
    scales as `QuantizeWeights` has them; the KV cache as ``kv``: float32, bfloat16 or int8."""
    passes = _quantizers(weights, product_scales)
    if kv != FLOAT32:
        passes.append(QuantizeKVCache(kv, caches=2 * len(facts.kv_layers)))
    return Phase.to("quantized", *passes)


def _quantizers(weights: Recipe | str, product_scales: str) -> list[Pass]:
    """Passes that make codes of weights, or take those that are stored."""
    if weights == FLOAT32:
        return []
    first = QuantizeWeights(weights, product_scales)
    return [first, InsertActivationRounding()] if weights == STORED else [first]


def frontend(
    facts: TextFacts,
    rewind: int,
    shared_tail: bool = True,
    weights: Recipe | str = "float32",
    kv: str = "float32",
    ring: int = 0,
    rotate_first: bool = False,
    product_scales: str = "float32",
) -> tuple[Phase, ...]:
    """All phases up to [quantized]. ``rewind``: tokens a windowed cache can take back; ``ring``: its slots, or 0."""
    first = canonical(facts), fused(facts), scheduled(facts, rewind, shared_tail, ring, rotate_first)
    return (*first, quantized(facts, weights, kv, product_scales))
