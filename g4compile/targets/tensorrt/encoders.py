"""Parts beside the decoder as engines: one plan each, of one item at a time.

An encoder's plan has a profile for each range of sizes, least to most: kernels are chosen for the usual size, and a
large image, or a long sound, takes none that is slow for a small one. Weights are inputs of the plan, so all
profiles read one copy.
"""

from __future__ import annotations

from collections.abc import Sequence

from g4compile.bundle.media import BUDGETS, FRAMES, MediaSpec, MelSpec, WaveSpec, sound_tokens
from g4compile.errors import Defect
from g4compile.model.config import ModelFacts
from g4compile.model.contents import tower_facts
from g4compile.model.towers import AudioFacts, PatchFacts, TowerFacts, VisionFacts
from g4compile.passes.base import Pass
from g4compile.passes.canonicalize_constants import CanonicalizeConstants
from g4compile.passes.canonicalize_dead_code import CanonicalizeDeadCode
from g4compile.passes.legalize import Legalize
from g4compile.passes.lower_to_bfloat16 import LowerToBfloat16
from g4compile.targets.tensorrt.relative import BLOCKS, PADDED
from g4compile.targets.tensorrt.steps import Sizes

# Pixels are centred before they are rounded, as Hugging Face does; the standardisation subtracts numbers up to 5e4.
# Of sounds, 12B's frames are normed before.
_PIXELS, _FRAMES, _STANDARDIZATION = "pixel_values", "input_features", "*.std_bias *.std_scale"
BETWEEN = "tokens_times_2"  # the name of a size in the graph: of what stands between the two convolutions
SECONDS = (2, 10)  # the longest sounds of profiles, before the longest that a model takes


def encoder_passes(facts: TowerFacts, legalize: Legalize) -> tuple[Pass, ...]:
    """[quantized] to the legal graph of an encoder, in bfloat16. The sum through the layers stays in float32, and so
    does what follows it in vision: pooling and standardisation; and attention of sounds from its projections on."""
    wide = _PIXELS if isinstance(facts, VisionFacts | PatchFacts) else _FRAMES
    if isinstance(facts, VisionFacts) and facts.standardized:
        wide = f"{wide} {_STANDARDIZATION}"
    return LowerToBfloat16(layers=0, wide=wide), legalize, CanonicalizeConstants(), CanonicalizeDeadCode()


def profiles_of(facts: ModelFacts, part: str, media: MediaSpec | None = None) -> tuple[Sizes, ...]:
    """Of the plan of a ``part`` of the model of ``facts``, which takes ``media``."""
    found, sounds = tower_facts(facts).get(part), None if media is None else media.audio
    if isinstance(found, VisionFacts | PatchFacts):
        return vision_profiles(found)
    if sounds is None:
        raise Defect(f"there are no profiles for the part {part}")
    return audio_profiles(sounds)


def vision_profiles(facts: VisionFacts | PatchFacts) -> tuple[Sizes, ...]:
    """For each budget of tokens, the images that no smaller one takes. Of patches, as many as tokens have."""
    pool = facts.pool**2 if isinstance(facts, VisionFacts) else 1
    return tuple(
        {"tokens": tokens} | ({"patches": _times(pool, tokens)} if pool > 1 else {}) for tokens in _ranges(BUDGETS)
    )


def audio_profiles(spec: MelSpec | WaveSpec) -> tuple[Sizes, ...]:
    """For each of `SECONDS`, and for the longest sound, those that no shorter one takes. Of log-mel frames, those that
    tokens have; the last token may have fewer."""
    longest = sound_tokens(spec, spec.max_samples)
    shorter = (sound_tokens(spec, seconds * spec.sampling_rate) for seconds in SECONDS)
    ranges = _ranges([*(tokens for tokens in shorter if tokens < longest), longest])
    if isinstance(spec, WaveSpec):
        return tuple({"tokens": tokens} for tokens in ranges)
    return tuple(
        {"tokens": (least, usual, most), "frames": (FRAMES * (least - 1) + 1, FRAMES * usual, FRAMES * most)}
        for least, usual, most in ranges
    )


def inner_sizes(facts: ModelFacts, part: str, sizes: Sizes) -> Sizes:
    """Sizes that are neither of inputs nor of outputs, at those ``sizes``: between the convolutions of sounds, and of
    the blocks of their attention."""
    found = tower_facts(facts).get(part)
    if not isinstance(found, AudioFacts):
        return {}
    window, tokens = found.distances - 1, sizes["tokens"]
    least, usual, most = (-(-size // window) for size in tokens)
    blocks = least, usual, most
    return {BETWEEN: _times(2, tokens), BLOCKS: blocks, PADDED: _times(window, blocks)}


def _ranges(bounds: Sequence[int]) -> list[tuple[int, int, int]]:
    """Least, usual and most up to each of ``bounds``, behind the one before."""
    return [(before + 1, bound, bound) for before, bound in zip((0, *bounds), bounds, strict=False)]


def _times(factor: int, sizes: tuple[int, int, int]) -> tuple[int, int, int]:
    least, usual, most = sizes
    return factor * least, factor * usual, factor * most
