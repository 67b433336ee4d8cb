"""Every weight of an encoder, as `inventory.py` lists those of a decoder, from the facts of `towers.py`."""

from __future__ import annotations

from g4compile.model.inventory import PRODUCT, SCALE, Weight
from g4compile.model.keys import module_of_key
from g4compile.model.towers import TowerFacts


def encoder_inventory(part: str, tower: TowerFacts, text_hidden_size: int) -> list[Weight]:
    """The weights of ``part`` and of its projection to ``text_hidden_size``. What is no product (norms, biases, bounds,
    tables of positions, kernels of convolutions) stays in float32, whatever a recipe says."""
    return [
        Weight(module_of_key(key), shape, part, PRODUCT if _is_product(key, shape) else SCALE)
        for key, shape in tower.tensors(text_hidden_size)
    ]


def _is_product(key: str, shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 and key.endswith(".weight")
