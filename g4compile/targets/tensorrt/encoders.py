"""Parts beside the decoder as engines: one plan each, of one item at a time.

An encoder's plan has a profile for each range of sizes, least to most: kernels are chosen for the usual size, and a
large image takes none that is slow for a small one. Weights are inputs of the plan, so all profiles read one copy.
"""

from __future__ import annotations

from g4compile.bundle.media import BUDGETS
from g4compile.errors import Defect
from g4compile.model.config import ModelFacts
from g4compile.model.contents import tower_facts
from g4compile.model.towers import PatchFacts, VisionFacts
from g4compile.passes.base import Pass
from g4compile.passes.canonicalize_constants import CanonicalizeConstants
from g4compile.passes.canonicalize_dead_code import CanonicalizeDeadCode
from g4compile.passes.legalize import Legalize
from g4compile.passes.lower_to_bfloat16 import LowerToBfloat16
from g4compile.targets.tensorrt.steps import Sizes

# Pixels are centred before they are rounded, as Hugging Face does; the standardisation subtracts numbers up to 5e4.
_PIXELS, _STANDARDIZATION = "pixel_values", "*.std_bias *.std_scale"


def vision_passes(facts: VisionFacts | PatchFacts, legalize: Legalize) -> tuple[Pass, ...]:
    """[quantized] to the legal graph of a vision encoder, in bfloat16. The sum through the layers stays in float32, and
    so does what follows it: pooling and standardisation."""
    standardized = isinstance(facts, VisionFacts) and facts.standardized
    wide = f"{_PIXELS} {_STANDARDIZATION}" if standardized else _PIXELS
    return LowerToBfloat16(layers=0, wide=wide), legalize, CanonicalizeConstants(), CanonicalizeDeadCode()


def profiles_of(facts: ModelFacts, part: str) -> tuple[Sizes, ...]:
    """Of the plan of a ``part`` of the model of ``facts``."""
    found = tower_facts(facts).get(part)
    if not isinstance(found, VisionFacts | PatchFacts):
        raise Defect(f"there are no profiles for the part {part}")
    return vision_profiles(found)


def vision_profiles(facts: VisionFacts | PatchFacts) -> tuple[Sizes, ...]:
    """For each budget of tokens, the images that no smaller one takes. Of patches, as many as tokens have."""
    pool = facts.pool**2 if isinstance(facts, VisionFacts) else 1
    found, least = list[Sizes](), 1
    for budget in BUDGETS:
        tokens = (least, budget, budget)
        found.append({"tokens": tokens} | ({"patches": _times(pool, tokens)} if pool > 1 else {}))
        least = budget + 1
    return tuple(found)


def _times(factor: int, sizes: tuple[int, int, int]) -> tuple[int, int, int]:
    least, usual, most = sizes
    return factor * least, factor * usual, factor * most
