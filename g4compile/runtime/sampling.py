"""Choosing a token from logits: greedy, or temperature with top-k and top-p, from a seed.

`docs/sampling.md` states it so that a runtime in any language chooses the same tokens from the same logits.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from g4compile.errors import BundleError
from g4compile.runtime.arguments import integer, real
from g4compile.runtime.random_numbers import exp, uniform

Logits = np.ndarray[Any, Any]
_SEEDS = 1 << 64
_COLDEST = 1e-5  # a colder draw is greedy but for ties; and a subnormal temperature is 0 where a runtime flushes them
_LEAST_P = 1e-9
_MOST = (1 << 31) - 1  # of top_k: more than any vocabulary has
_SIGN = np.uint32(1 << 31)
_WRONG = 1e-5  # the relative error that is allowed for in a sum in float32: some times what there can be
_SHARE = 256  # logits for each that is wanted, from which on most are left out beforehand


@dataclass
class Sampling:
    """``temperature`` 0 is greedy, else it is 0.00001 or more. ``top_k`` 0 and ``top_p`` 1 keep all tokens. ``seed``:
    64 bits; None draws one from the system. ``draws``: tokens drawn so far, which with the seed decides the next random
    number. Raises InputError for other values.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int | None = None
    draws: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.temperature = real("temperature", self.temperature, _COLDEST, zero=True)
        self.top_k = integer("top_k", self.top_k, 0, _MOST)
        self.top_p = real("top_p", self.top_p, _LEAST_P, 1.0)
        self._seed = secrets.randbits(64) if self.seed is None else integer("seed", self.seed, 0, _SEEDS - 1)

    def choose(self, logits: Logits) -> int:
        """The next token from float32 logits [V]. Raises BundleError where the greatest is not finite, or any is no
        number."""
        if self.temperature == 0:
            token = int(np.argmax(logits))  # the first that is no number, where there is one
            check_greatest(logits[token])
            return token
        return self._draw(logits, np.arange(len(logits)))

    def enough(self, count: int) -> bool:
        """Whether the ``count`` likeliest tokens decide."""
        return self.temperature == 0 or 0 < self.top_k <= count

    def choose_among(self, logits: Logits, tokens: np.ndarray[Any, Any]) -> int:
        """As `choose`, of the likeliest ``tokens`` [count], in any order, and their ``logits``, where they are
        `enough`."""
        if self.temperature == 0:
            greatest = logits.max()
            check_greatest(greatest)
            return int(tokens[logits == greatest].min())
        return self._draw(logits, tokens)

    def choose_knowing(self, logits: Logits, top: Logits, tokens: np.ndarray[Any, Any]) -> int:
        """As `choose`, from all ``logits`` [V], of which the greatest are ``top`` [count], of ``tokens`` [count], in
        any order. Most draws are one of these, and then no more are put in order."""
        if self.enough(len(tokens)):
            return self.choose_among(top, tokens)
        if self.top_k:  # more than are known
            return self.choose(logits)
        check_greatest(top.max())
        ordered, likely = _likeliest_first(top, tokens, len(tokens))
        shares = exp(self._scaled(ordered))
        place = self._place(np.cumsum(shares), float(shares[-1]), self._total(logits, ordered[0]))
        if place is None or ordered[place] == ordered[-1]:  # another token may be as likely, and come first
            return self.choose(logits)
        self.draws += 1
        return int(likely[place])

    def _draw(self, logits: Logits, tokens: np.ndarray[Any, Any]) -> int:
        check_greatest(logits.max())
        ordered, tokens = _likeliest_first(logits, tokens, self.top_k or len(tokens))
        sums = np.cumsum(exp(self._scaled(ordered)))  # one after another, the likeliest first
        kept = int(np.searchsorted(sums, self.top_p * sums[-1]))  # the last that is kept
        point = uniform(self._seed, self.draws) * sums[kept]
        self.draws += 1
        return int(tokens[np.searchsorted(sums[: kept + 1], point, side="right")])

    def _scaled(self, ordered: Logits) -> np.ndarray[Any, Any]:
        """Of logits, the greatest first: what `exp` is taken of."""
        with np.errstate(over="ignore"):  # of a temperature near 0: minus infinity, whose `exp` is 0
            scaled: np.ndarray[Any, Any] = (ordered.astype(np.float64) - np.float64(ordered[0])) / self.temperature
        return scaled

    def _total(self, logits: Logits, greatest: np.floating[Any]) -> tuple[float, float]:
        """Bounds of the sum of all shares, computed in float32: of a share exp(-x) the rounding of x changes
        a part of x / 2^23, so a millionth where shares count at all, which are those of x up to about 16."""
        with np.errstate(over="ignore", invalid="ignore"):  # no number stays none, and decides nothing
            total = float(np.exp((logits - greatest) / np.float32(self.temperature)).sum(dtype=np.float64))
        return total * (1 - _WRONG), total * (1 + _WRONG)

    def _place(self, sums: np.ndarray[Any, Any], last: float, total: tuple[float, float]) -> int | None:
        """Which of the likeliest tokens, whose shares add up to ``sums``, is drawn next, where all add up to a number
        between two of ``total``; None where that does not decide. ``last``: the share of the last of them."""
        least, most = (self.top_p * bound for bound in total)
        if np.isnan(most):
            return None
        first, final = (int(np.searchsorted(sums, bound)) for bound in (least, most))
        # What is kept adds up to a number between these; behind the likeliest it ends in a share no greater than last.
        low = sums[first] if first < len(sums) else least
        high = sums[final] if final < len(sums) else min(total[1], most + last)
        number = uniform(self._seed, self.draws)
        place, other = (int(np.searchsorted(sums, number * end, side="right")) for end in (low, high))
        return place if place == other and place < len(sums) else None


def check_greatest(greatest: np.floating[Any]) -> None:
    """Raise BundleError unless the greatest logit is finite."""
    if not np.isfinite(greatest):
        raise BundleError(
            f"the model gave {greatest} as its greatest logit, so no token can be chosen",
            why="a weight is not finite, or was damaged",
            fix="check the checkpoint, compile again, and `g4compile verify` the bundle against it",
        )


def _bound(logits: Logits, count: int) -> np.floating[Any]:
    """A number that at least ``count`` of the ``logits`` reach: the greatest of parts of them, of which so many do."""
    parts = np.maximum.reduceat(logits, np.arange(0, len(logits), _SHARE // 2))
    bound: np.floating[Any] = np.partition(parts, len(parts) - count)[len(parts) - count]
    return bound


def _likeliest_first(logits: Logits, tokens: np.ndarray[Any, Any], count: int) -> tuple[Logits, np.ndarray[Any, Any]]:
    """The ``count`` greatest ``logits`` [count], the greatest first, and their tokens; of equal ones the lowest token
    first.

    Each pair becomes one number of 64 bits: the logit's bits, made to rise as it falls, above the token. No two are
    equal, so any way of sorting gives one order, and the fastest is taken. Of many logits and a small ``count`` most
    are left out beforehand.
    """
    if count * _SHARE < len(logits):
        some = np.flatnonzero(logits >= _bound(logits, count))
        logits, tokens = logits[some], tokens[some]
    bits = (logits.astype(np.float32) + np.float32(0)).view(np.uint32)  # -0 becomes 0
    falling = np.where(bits & _SIGN, bits, ~(bits | _SIGN))
    keys = falling.astype(np.uint64) << np.uint64(32) | tokens.astype(np.uint64)
    if count < len(keys):
        keys = np.partition(keys, count - 1)[:count]
    keys.sort()
    falling = (keys >> np.uint64(32)).astype(np.uint32)
    bits = np.where(falling & _SIGN, falling, ~(falling | _SIGN))
    return bits.view(np.float32), (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
