"""What an encoder of images or sounds costs: bytes of the data file, and operations."""

from __future__ import annotations

import msgspec

from g4compile.model.config import ModelFacts
from g4compile.model.contents import VISION, tower_facts
from g4compile.model.encoder_inventory import encoder_inventory
from g4compile.model.inventory import PRODUCT, Weight
from g4compile.model.towers import AudioFacts, PatchFacts, TowerFacts, VisionFacts
from g4compile.planning.speeds import operations
from g4compile.planning.storage import FLOAT, Storage, paged
from g4compile.weights.writer import INLINE

_IMAGE, _SOUND = 280, 750  # tokens of an image of the default budget, and of 30 seconds


class EncoderPlan(msgspec.Struct, frozen=True):
    """``bytes`` of the data file. ``operations`` of products and of attention for one input of ``tokens``: an image of
    the default budget, or the longest sound."""

    bytes: int
    tokens: int
    operations: int


def encoder_weights(facts: ModelFacts, part: str) -> list[Weight]:
    """The weights of ``part`` of the model."""
    return encoder_inventory(part, tower_facts(facts)[part], facts.text.hidden_size)


def plan_encoder(facts: ModelFacts, part: str, storage: Storage) -> EncoderPlan:
    """Of ``part`` of the model, its weights as ``storage`` has them."""
    tower, found = tower_facts(facts)[part], encoder_weights(facts, part)
    stored = sum(storage.stored_bytes(weight) for weight in found)
    tokens = _IMAGE if part == VISION else _SOUND
    return EncoderPlan(stored + _constant_bytes(tower), tokens, _operations(tower, found, tokens))


def _operations(tower: TowerFacts, found: list[Weight], tokens: int) -> int:
    """The projection into the decoder has a row for each token, all else of a tower one for each patch."""
    products = {weight.module: operations(weight) for weight in found if weight.use == PRODUCT}
    if not isinstance(tower, VisionFacts):
        return tokens * sum(products.values())
    projection = products.pop("embed_vision.embedding_projection")
    patches = tokens * tower.pool**2
    attention = 4 * patches**2 * tower.layers * tower.heads * tower.head_dim
    return patches * sum(products.values()) + attention + tokens * projection


def _constant_bytes(tower: TowerFacts) -> int:
    """Scales of ones for norms without a weight, one a width, and the embeddings of distances."""
    if isinstance(tower, VisionFacts):
        sizes = {tower.hidden_size, tower.head_dim}
    elif isinstance(tower, AudioFacts):
        sizes = {tower.output_size, tower.distances * tower.hidden_size}
    else:
        sizes = {tower.output_size if isinstance(tower, PatchFacts) else tower.samples}
    return sum(paged(FLOAT * size) for size in sizes if FLOAT * size > INLINE)
