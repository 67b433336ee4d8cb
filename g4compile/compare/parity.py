"""How far two sets of logits are apart, and how far they may be: one table by weight format."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from g4compile.bundle.manifest import Manifest
from g4compile.weights.stored import STORED

Logits = np.ndarray[Any, Any]


class Limits(msgspec.Struct, frozen=True):
    """What a comparison may show at most (at least, for agreement)."""

    max_abs_difference: float
    top1_agreement: float
    kl_mean: float


LIMITS: dict[str, Limits] = {
    # float32 against HF eager float32: rounding alone, a hundredth of what any wrong step does.
    "float32": Limits(max_abs_difference=2e-4, top1_agreement=1.0, kl_mean=1e-6),
    # Networks of engines, bfloat16 computed in float32: other orders of summation, and a cache in a ring.
    "bfloat16": Limits(max_abs_difference=5e-4, top1_agreement=1.0, kl_mean=1e-6),
    # Codes with exact products against HF on the dequantised weights: rounding of other orders of summation.
    "quantized, float32 activations": Limits(max_abs_difference=5e-4, top1_agreement=1.0, kl_mean=1e-6),
    # Products round activations to 8 bits, 0.4% of a block's largest. Random tiny models have near ties all over, so
    # agreement and divergence are bounded, not differences: the built-in recipes reach 0.87 and 0.007 at worst.
    "quantized, int8 activations": Limits(max_abs_difference=float("inf"), top1_agreement=0.8, kl_mean=0.02),
    # That noise also sends a token to another expert when two are nearly tied: 0.58 and 0.20 at worst.
    "quantized experts, int8 activations": Limits(max_abs_difference=float("inf"), top1_agreement=0.5, kl_mean=0.5),
    # Keys and values rounded to 8 bits, against HF with its own rounded alike: where rounding noise meets a half, one
    # code of thousands is a step off (0.05 and 1e-6 at worst; the rounding as such costs a KL of 1e-3).
    "int8 KV": Limits(max_abs_difference=0.1, top1_agreement=0.99, kl_mean=1e-5),
    # A checkpoint's own codes: rounding by fixed steps turns any noise into whole steps. HF differs as much from itself
    # with its norms off by 0.1% (0.75 and 0.09 on random weights, where this reaches 0.67 and 0.13); that the graph is
    # equal but for the kernels' rounding is tested at stage [quantized], to the row of float32 activations.
    "stored": Limits(max_abs_difference=float("inf"), top1_agreement=0.5, kl_mean=0.3),
}


def limits_of(manifest: Manifest) -> Limits:
    """The row of the table that holds for a bundle."""
    if manifest.engine is not None:
        return LIMITS["bfloat16"]
    if manifest.activations == "float32" and manifest.kv.dtype == "int8":
        return LIMITS["int8 KV"]
    if not manifest.quantized:
        return LIMITS["float32"]
    if manifest.weights == STORED:
        return LIMITS[STORED]
    experts = manifest.activations == "int8" and any(".experts." in key for key in manifest.quantized)
    return LIMITS[f"quantized{' experts' if experts else ''}, {manifest.activations} activations"]


class Parity(msgspec.Struct, frozen=True):
    """Differences over all compared positions. ``kl_mean`` is KL(reference || ours) in nats a position."""

    positions: int
    max_abs_difference: float
    mean_abs_difference: float
    kl_mean: float
    top1_agreement: float

    def broken(self, limits: Limits) -> list[str]:
        """Which limits this is over, in words. A value that is not a number is over every limit."""
        over = []
        if not self.max_abs_difference <= limits.max_abs_difference:
            over.append(f"max difference {self.max_abs_difference:.3g} > {limits.max_abs_difference:.3g}")
        if not self.top1_agreement >= limits.top1_agreement:
            over.append(f"top-1 agreement {self.top1_agreement:.4f} < {limits.top1_agreement:.4f}")
        if not self.kl_mean <= limits.kl_mean:
            over.append(f"KL {self.kl_mean:.3g} > {limits.kl_mean:.3g}")
        return over


class Meter:
    """Accumulates parity over any number of pieces, so that logits need not be held together."""

    def __init__(self) -> None:
        self._positions, self._elements, self._agreed = 0, 0, 0
        self._largest, self._sum, self._kl = 0.0, 0.0, 0.0

    def add(self, reference: Logits, ours: Logits) -> None:
        """Compare logits of one shape [..., V]."""
        if reference.shape != ours.shape:
            raise ValueError(f"logits of shapes {reference.shape} and {ours.shape} cannot be compared")
        difference = np.abs(reference - ours)
        self._positions += difference[..., 0].size
        self._elements += difference.size
        self._largest = float(np.maximum(self._largest, difference.max()))  # maximum keeps a NaN
        self._sum += float(difference.sum(dtype=np.float64))
        self._agreed += int((reference.argmax(-1) == ours.argmax(-1)).sum())
        expected, found = _log_softmax(reference), _log_softmax(ours)
        self._kl += float((np.exp(expected) * (expected - found)).sum())

    def result(self) -> Parity:
        return Parity(
            self._positions,
            self._largest,
            self._sum / max(self._elements, 1),
            max(self._kl / max(self._positions, 1), 0.0),
            self._agreed / max(self._positions, 1),
        )


def _log_softmax(logits: Logits) -> Logits:
    wide = logits.astype(np.float64)
    shifted = wide - wide.max(axis=-1, keepdims=True)
    normed: Logits = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normed
