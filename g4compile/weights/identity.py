"""Are the codes in a bundle those of the checkpoint? Both sides are unpacked by their own definition and compared.

The bundle's by `weights/formats/blocks.py`; the checkpoint's by transformers (`integrations/gemma_quant.py`,
_unpack_int4 and _unpack_int2), restated here so that a mistake in reading them does not pass its own examination.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from g4compile.bundle.folder import Bundle
from g4compile.bundle.manifest import PANELS, QuantizedSpec
from g4compile.errors import Defect
from g4compile.weights.bundle_weights import initializers
from g4compile.weights.checkpoint import Checkpoint
from g4compile.weights.formats.blocks import Array, BlockFormat, unpack_bits
from g4compile.weights.formats.channel_panels import PANEL, panel_levels, panel_scales
from g4compile.weights.stored import STORED, StoredCodes, stored_codes

_BYTES = 64 << 20  # unpacked bytes compared at once


@dataclass(frozen=True)
class Identity:
    """``identical`` of ``tensors`` have the same codes and scales; ``different`` names the others."""

    tensors: int
    different: tuple[str, ...]

    @property
    def identical(self) -> int:
        return self.tensors - len(self.different)

    def __str__(self) -> str:
        line = f"{self.identical} of {self.tensors} tensors code-identical"
        return f"{line}; not {', '.join(self.different[:3])}" if self.different else line


def compare_codes(bundle: Bundle, checkpoint: Checkpoint | str | Path) -> Identity | None:
    """Compare every quantised weight of ``bundle``; None when its codes were not taken from a checkpoint."""
    if bundle.manifest.weights != STORED:
        return None
    source = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint.open(checkpoint)
    held = initializers(bundle)
    different = [key for key, spec in bundle.manifest.quantized.items() if not _same(source, key, spec, held)]
    return Identity(len(bundle.manifest.quantized), tuple(different))


def check_identity(bundle: Bundle, checkpoint: Checkpoint) -> None:
    """As `compare_codes`, of a bundle that was just written. Raises Defect when a code or a scale is not the
    checkpoint's."""
    found = compare_codes(bundle, checkpoint)
    if found is not None and found.different:
        raise Defect(f"the bundle's codes are not the checkpoint's: {found}", where=str(checkpoint.folder))


def _same(source: Checkpoint, key: str, spec: QuantizedSpec, held: Mapping[str, Array]) -> bool:
    stored = stored_codes(source, key, (spec.shape[0], spec.shape[1]))
    codes, scales = held.get(f"{key}.codes"), held.get(f"{key}.scales")
    if stored is None or codes is None or scales is None or stored.bits != spec.bits:
        return False
    rows, columns = spec.shape
    format = BlockFormat(spec.bits, spec.block)
    panels = spec.layout == PANELS
    if not panels:
        codes, scales = codes.reshape(rows, -1), scales.reshape(rows, -1)
    step = max(PANEL, _BYTES // columns // PANEL * PANEL)
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        if panels:
            first, last = start // PANEL, -(-stop // PANEL)
            levels = panel_levels(codes[first:last], stop - start, columns, format)
            ours_scales = panel_scales(scales[first * PANEL : last * PANEL], stop - start, format)
        else:
            levels, ours_scales = unpack_bits(codes[start:stop], spec.bits)[:, :columns], scales[start:stop]
        ours = levels.astype(np.int16) - format.middle
        if not np.array_equal(ours, _levels(source, stored, start, stop, columns)):
            return False
        theirs = source.read_rows(stored.scales_key, start, stop) * np.float32(spec.scale)
        each = format.width(columns)  # weights a stored block has; every one has the scale of its slice
        slices = np.arange(ours_scales.shape[1]) * each * stored.slices // columns
        if not np.array_equal(ours_scales, theirs[:, slices]):
            return False
    return True


def _levels(source: Checkpoint, stored: StoredCodes, start: int, stop: int, columns: int) -> Array:
    """int16 [rows, K] as transformers reads them."""
    packed = source.read_rows(stored.codes_key, start, stop)
    if stored.bits == 8:
        return packed.astype(np.int16)
    places = range(0, 8, stored.bits)
    mask, middle = (1 << stored.bits) - 1, 1 << (stored.bits - 1)
    levels = np.stack([(packed >> place & mask).astype(np.int16) - middle for place in places], axis=-1)
    return levels.reshape(len(packed), -1)[:, :columns]
