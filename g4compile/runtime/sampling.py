"""Choosing a token from logits: greedy, or temperature with top-k and top-p, from a seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from g4compile.errors import InputError

Logits = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Sampling:
    """``temperature`` 0 is greedy. ``top_k`` 0 and ``top_p`` 1 keep all tokens."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None
    _random: np.random.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.temperature < 0 or self.top_k < 0 or not 0 < self.top_p <= 1:
            raise InputError(
                f"cannot sample with temperature {self.temperature}, top_k {self.top_k}, top_p {self.top_p}",
                fix="temperature >= 0, top_k >= 0, 0 < top_p <= 1",
            )
        object.__setattr__(self, "_random", np.random.default_rng(self.seed))

    def choose(self, logits: Logits) -> int:
        """The next token from float32 logits [V]."""
        if self.temperature == 0:
            return int(np.argmax(logits))
        order = np.argsort(-logits, kind="stable")
        return self._draw(logits[order], order)

    def enough(self, count: int) -> bool:
        """Whether the ``count`` likeliest tokens decide."""
        return self.temperature == 0 or 0 < self.top_k <= count

    def choose_among(self, logits: Logits, tokens: np.ndarray[Any, Any]) -> int:
        """As `choose`, of the likeliest ``tokens`` [count], in any order, and their ``logits``, where they are `enough`."""
        order = np.lexsort((tokens, -logits))  # of equal ones the first of the vocabulary
        if self.temperature == 0:
            return int(tokens[order[0]])
        return self._draw(logits[order], tokens[order])

    def _draw(self, logits: Logits, tokens: np.ndarray[Any, Any]) -> int:
        """One of ``tokens``, the likeliest first."""
        if self.top_k:
            logits, tokens = logits[: self.top_k], tokens[: self.top_k]
        scaled = logits.astype(np.float64) / self.temperature
        chances = np.exp(scaled - scaled[0])
        chances /= chances.sum()
        kept = int(np.searchsorted(np.cumsum(chances), self.top_p)) + 1
        tokens, chances = tokens[:kept], chances[:kept]
        return int(self._random.choice(tokens, p=chances / chances.sum()))
