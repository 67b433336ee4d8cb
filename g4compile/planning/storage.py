"""Bytes of a weight as a bundle stores it, by the rules of `weights/writer.py`."""

from __future__ import annotations

import math

from g4compile.model.inventory import Weight
from g4compile.weights.recipe import Recipe, Rule
from g4compile.weights.writer import INLINE, PAGE

FLOAT = 4


def stored_bytes(weight: Weight, recipe: Recipe | None) -> int:
    """Bytes of the data file: every tensor starts on a page; small ones are in the graph instead."""
    return sum(paged(size) for size in _tensors(weight, recipe))


def tensor_bytes(weight: Weight, recipe: Recipe | None) -> int:
    """Bytes without what pads them to pages."""
    return sum(_tensors(weight, recipe))


def rule_of(weight: Weight, recipe: Recipe | None) -> Rule | None:
    """The rule that makes codes of ``weight``; None when it stays in float32."""
    rule = recipe.rule(weight.module) if recipe is not None and len(weight.shape) > 1 else None
    return rule if rule is not None and rule.format is not None else None


def paged(size: int) -> int:
    return size + -size % PAGE


def _tensors(weight: Weight, recipe: Recipe | None) -> list[int]:
    """Bytes of each tensor that stores ``weight``."""
    rule = rule_of(weight, recipe)
    if rule is None or rule.format is None:
        size = weight.elements * FLOAT
        return [size] if size > INLINE else []
    rows, columns = math.prod(weight.shape[:-1]), weight.shape[-1]
    sizes = [
        math.prod(rule.format.codes_shape(rows, columns)),
        FLOAT * math.prod(rule.format.scales_shape(rows, columns)),
    ]
    return sizes if rule.format.symmetric else [*sizes, math.prod(rule.format.zero_points_shape(rows, columns))]
