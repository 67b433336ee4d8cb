"""Bytes of a weight as a bundle stores it, by the rules of `weights/writer.py`."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from g4compile.model.inventory import PRODUCT, ROUTER, SMALL, Weight
from g4compile.weights.formats.blocks import BFLOAT16, BlockFormat
from g4compile.weights.formats.channel_panels import fits_panels, panel_bytes
from g4compile.weights.recipe import Recipe, Rule
from g4compile.weights.stored import STORED
from g4compile.weights.writer import INLINE, PAGE

FLOAT = 4


@dataclass(frozen=True)
class Storage:
    """How weights are stored: by ``recipe``, None where none are codes; ``panels``: codes that products read lie in
    panels where they fit them. ``number``: bytes of a number that is no code; ``small``:
    of norms, scales and routers."""

    recipe: Recipe | None
    panels: bool = False
    number: int = FLOAT
    small: int = FLOAT

    def stored_bytes(self, weight: Weight) -> int:
        """Bytes of the data file: every tensor starts on a page; small ones are in the graph instead."""
        return sum(paged(size) for size in self._tensors(weight))

    def tensor_bytes(self, weight: Weight) -> int:
        """Bytes without what pads them to pages."""
        return sum(self._tensors(weight))

    def rule(self, weight: Weight) -> Rule | None:
        """The rule that makes codes of ``weight``; None when it stays a float."""
        rule = self.recipe.rule(weight.module) if self.recipe is not None and weight.use != SMALL else None
        return rule if rule is not None and rule.format is not None else None

    def in_panels(self, weight: Weight) -> bool:
        """Whether the codes of ``weight`` lie in panels."""
        rule = self.rule(weight)
        if not self.panels or rule is None or rule.format is None or weight.use != PRODUCT:
            return False
        return fits_panels(weight.shape, rule.format if rule.quantizer == STORED else _rounded(rule.format))

    def _tensors(self, weight: Weight) -> list[int]:
        """Bytes of each tensor that stores ``weight``."""
        rule = self.rule(weight)
        if rule is None or rule.format is None:
            small = weight.use == SMALL or weight.group == ROUTER
            size = weight.elements * (self.small if small else self.number)
            return [size] if size > INLINE else []
        rows, columns = math.prod(weight.shape[:-1]), weight.shape[-1]
        if self.in_panels(weight):
            return list(panel_bytes(rows, columns, rule.format).values())
        sizes = [
            math.prod(rule.format.codes_shape(rows, columns)),
            self.number * math.prod(rule.format.scales_shape(rows, columns)),
        ]
        return sizes if rule.format.symmetric else [*sizes, math.prod(rule.format.zero_points_shape(rows, columns))]


def paged(size: int) -> int:
    return size + -size % PAGE


def _rounded(format: BlockFormat) -> BlockFormat:
    return replace(format, scales=BFLOAT16)
