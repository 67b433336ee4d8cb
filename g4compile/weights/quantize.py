"""float32 rows -> codes and scales: rounding to the nearest level, and a search for scales with a smaller error.

Neither needs calibration data. `nearest` takes a block's range as it is; in a symmetric block the extreme weight
sits on the one level that has no mirror image, so that all levels are used (as in GGUF's Q4_0; scales may be
negative). `search` also tries narrower ranges, solves for the scale that fits the codes of each best, and keeps the
smallest squared error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from g4compile.weights.formats.blocks import WHOLE_ROW, BlockFormat, Codes

Array = np.ndarray[Any, Any]
Quantizer = Callable[[Array, BlockFormat], Codes]
# Shares of the range of a block: below 1, outliers are clipped so that the rest is finer.
_SHARES = tuple(np.float32(share) for share in (1.0, 0.92, 0.85, 0.78, 0.7, 0.6))
_WHOLE = _SHARES[0]
_TINY = np.float32(1e-30)


@dataclass(frozen=True)
class _Fit:
    """Levels [N, blocks, width] as floats (code - zero point), scales and zero points [N, blocks]."""

    levels: Array
    scales: Array
    zeros: Array | None

    def refit(self, blocks: Array, format: BlockFormat) -> _Fit:
        """The scale that leaves the least squared error with these codes, as ``format`` rounds it."""
        power = np.einsum("nbw,nbw->nb", self.levels, self.levels)
        fit = np.einsum("nbw,nbw->nb", self.levels, blocks) / np.maximum(power, _TINY)
        scales = format.rounded(np.where(np.abs(fit) > _TINY, fit, self.scales))
        return _Fit(self.levels, scales, self.zeros)

    def error(self, blocks: Array) -> Array:
        difference = self.levels * self.scales[..., None]
        difference -= blocks
        squared: Array = np.einsum("nbw,nbw->nb", difference, difference)
        return squared

    def pack(self, format: BlockFormat, columns: int) -> Codes:
        """As stored blocks: those of a whole row repeat its scale."""
        offset = np.float32(format.middle) if self.zeros is None else self.zeros[..., None]
        codes = (self.levels + offset).astype(np.uint8)
        blocks = format.blocks(columns)
        codes = codes.reshape(len(codes), blocks, format.width(columns))
        scales = np.broadcast_to(self.scales, codes.shape[:2])
        zeros = None if self.zeros is None else np.broadcast_to(self.zeros.astype(np.uint8), codes.shape[:2])
        return format.pack(codes, np.ascontiguousarray(scales), zeros)


def nearest(rows: Array, format: BlockFormat) -> Codes:
    """Round each weight to the nearest level of its block's range. ``rows``: float32 [N, K]."""
    return _nearest(_blocked(rows, format), format).pack(format, rows.shape[1])


def search(rows: Array, format: BlockFormat) -> Codes:
    """As `nearest`, with the scale of each block that leaves the smallest squared error among those tried."""
    blocks = _blocked(rows, format)
    best = _nearest(blocks, format)
    error = best.error(blocks)
    for share in _SHARES:
        better = _nearest(blocks, format, share).refit(blocks, format)
        theirs = better.error(blocks)
        wins = theirs < error
        levels = np.where(wins[..., None], better.levels, best.levels)
        zeros = None if best.zeros is None or better.zeros is None else np.where(wins, better.zeros, best.zeros)
        best, error = _Fit(levels, np.where(wins, better.scales, best.scales), zeros), np.where(wins, theirs, error)
    return best.pack(format, rows.shape[1])


QUANTIZERS: dict[str, Quantizer] = {"nearest": nearest, "search": search}


def _blocked(rows: Array, format: BlockFormat) -> Array:
    """[N, K] -> [N, scales, weights a scale], zeros behind the end of a row."""
    count, columns = rows.shape
    padding = format.blocks(columns) * format.width(columns) - columns
    padded = np.pad(rows, ((0, 0), (0, padding))) if padding else rows
    return padded.reshape(count, 1 if format.block == WHOLE_ROW else format.blocks(columns), -1)


def _nearest(blocks: Array, format: BlockFormat, share: np.float32 = _WHOLE) -> _Fit:
    low, high = np.minimum(blocks.min(-1), 0) * share, np.maximum(blocks.max(-1), 0) * share
    if format.symmetric:
        extreme = np.where(-low > high, low, high)  # goes to the lowest level, -middle
        return _symmetric(blocks, extreme / np.float32(-format.middle), format)
    return _asymmetric(blocks, low, high, format)


def _symmetric(blocks: Array, scales: Array, format: BlockFormat) -> _Fit:
    scales = format.rounded(np.where(np.abs(scales) < _TINY, _TINY, scales))
    return _Fit(_levels(blocks, scales, np.float32(-format.middle), np.float32(format.middle - 1)), scales, None)


def _asymmetric(blocks: Array, low: Array, high: Array, format: BlockFormat) -> _Fit:
    top = np.float32(format.levels - 1)
    scales = format.rounded(np.maximum((high - low) / top, _TINY))
    zeros = np.clip(np.rint(-low / scales), 0, top)
    return _Fit(_levels(blocks, scales, -zeros[..., None], top - zeros[..., None]), scales, zeros)


def _levels(blocks: Array, scales: Array, lowest: Any, highest: Any) -> Array:
    levels = blocks * (np.float32(1) / scales)[..., None]
    np.rint(levels, out=levels)
    clipped: Array = np.clip(levels, lowest, highest, out=levels)
    return clipped
