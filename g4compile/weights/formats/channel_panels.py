"""Codes in panels of 32 rows (output channels), as the kernels of libg4ops read them where they are mapped.

    codes        uint8 [panels, depth * 4 * bits]     panels = ceil(N / 32), depth = K up to a multiple of 32
    scales       float32 [panels * 32] of whole rows; of blocks bfloat16 [panels, blocks, 32]
    zero_points  uint8 [panels, blocks, 32], one a byte; absent when symmetric

Experts [E, N, K] have an axis E in front, and N is a multiple of 32. Rows and columns that fill the last panel up are
zeros: the middle code, and a scale of 0. `native/LAYOUT.md` (layout 1) says where a code stands in its panel. The codes
and scales are those of `blocks.py`, and none of them changes here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import ml_dtypes
import numpy as np
import onnx_ir as ir

from g4compile.bundle.manifest import PANELS
from g4compile.bundle.weight_codes import Panels
from g4compile.weights.formats.blocks import BFLOAT16, BLOCKS, WHOLE_ROW, Array, BlockFormat, Codes, unpack_bits
from g4compile.weights.quantized import QuantizedMatrix

PANEL = 32  # rows
MOST_COLUMNS, MOST_ROWS = 1 << 16, 1 << 24  # that the library takes
_HALF = 16  # rows of a panel that share a byte with the other half, below 8 bits
_LANES = 4  # weights of a row that stand side by side


def fits_panels(shape: tuple[int, ...], format: BlockFormat) -> bool:
    """Whether a weight of ``shape`` in ``format`` can stand in panels, with every code and scale as it is."""
    scales = format.block == WHOLE_ROW or (format.block in BLOCKS and format.scales == BFLOAT16)
    whole = len(shape) == 2 or (len(shape) == 3 and shape[1] % PANEL == 0)
    return whole and scales and shape[-2] <= MOST_ROWS and shape[-1] <= MOST_COLUMNS


def panel_shapes(rows: int, columns: int, format: BlockFormat) -> dict[str, tuple[int, ...]]:
    """Sizes of each part of a matrix [rows, columns]; of zero points too, which symmetric codes have not."""
    panels, blocks = -(-rows // PANEL), 1 if format.block == WHOLE_ROW else format.blocks(columns)
    by_block = (panels, blocks, PANEL)
    return {
        "codes": (panels, _up(columns) * PANEL * format.bits // 8),
        "scales": (panels * PANEL,) if format.block == WHOLE_ROW else by_block,
        "zero_points": by_block,
    }


def panel_bytes(rows: int, columns: int, format: BlockFormat) -> dict[str, int]:
    """Bytes of each part that is stored."""
    width = {"codes": 1, "scales": 4 if format.block == WHOLE_ROW else 2, "zero_points": 0 if format.symmetric else 1}
    sizes = {part: math.prod(shape) * width[part] for part, shape in panel_shapes(rows, columns, format).items()}
    return {part: size for part, size in sizes.items() if size}


@dataclass(frozen=True, eq=False)
class ChannelPanels(QuantizedMatrix):
    """``weight`` [N, K], or of experts [E, N, K], in panels. `fits_panels` holds for it."""

    unit: ClassVar[int] = PANEL
    layout: ClassVar[str] = PANELS

    def shape(self, part: str) -> tuple[int, ...]:
        *experts, rows = self.leading
        return (*experts, *panel_shapes(rows, self.columns, self.format)[part])

    def dtype(self, part: str) -> ir.DataType:
        narrow = part == "scales" and self.format.block != WHOLE_ROW
        return ir.DataType.BFLOAT16 if narrow else super().dtype(part)

    @property
    def layout_words(self) -> tuple[Panels, ...]:
        return (Panels(self.leading[-1]),)

    def quantize(self, start: int, stop: int) -> Codes:
        """Whole panels: ``start`` is a multiple of 32, ``stop`` too or the last row."""
        return to_panels(super().quantize(start, stop), self.columns, self.format)

    def strips(self, part: str, made: Codes, start: int, stop: int) -> Iterator[tuple[int, Array]]:
        """The last panel is whole, whatever rows there are."""
        array: Array = getattr(made, part)
        yield start // PANEL * (array.nbytes // -(-(stop - start) // PANEL)), array

    def dequantized(self) -> Array:
        return from_panels(self.quantize(0, self.rows), (*self.leading, self.columns), self.format)


def to_panels(made: Codes, columns: int, format: BlockFormat) -> Codes:
    """Rows packed as `BlockFormat.pack` leaves them, in panels."""
    blocks = 1 if format.block == WHOLE_ROW else format.blocks(columns)
    levels = unpack_bits(made.codes, format.bits).reshape(len(made.codes), -1)[:, :columns]
    scales = _by_panel(made.scales[:, :blocks], 0)
    scales = scales.reshape(-1) if format.block == WHOLE_ROW else scales.astype(ml_dtypes.bfloat16)
    zeros = None
    if made.zero_points is not None:
        zeros = _by_panel(unpack_bits(made.zero_points, format.bits)[:, :blocks], format.middle)
    return Codes(_pack(levels, format), scales, zeros)


def from_panels(panels: Codes, shape: tuple[int, ...], format: BlockFormat) -> Array:
    """What the codes in ``panels`` stand for: float32 of ``shape``, as in `fits_panels`."""
    rows, columns = math.prod(shape[:-1]), shape[-1]
    scales, weights = panel_scales(panels.scales, rows, format), panel_levels(panels.codes, rows, columns, format)
    weights = weights.astype(np.float32)
    zeros = None if panels.zero_points is None else _by_row(panels.zero_points)[:rows].astype(np.float32)
    width = format.block or columns
    for block in range(scales.shape[1]):
        part = weights[:, block * width : (block + 1) * width]
        part -= np.float32(format.middle) if zeros is None else zeros[:, block, None]
        part *= scales[:, block, None]
    return weights.reshape(shape)


def panel_levels(codes: Array, rows: int, columns: int, format: BlockFormat) -> Array:
    """The codes of ``rows`` rows, from the first on: uint8 [rows, columns]."""
    mask, depth = np.uint8((1 << format.bits) - 1), _up(columns)
    if format.bits == 8:
        by_quad = codes.reshape(-1, depth // _LANES, PANEL, _LANES)
    elif format.bits == 4:
        packed = codes.reshape(-1, depth // _LANES, _HALF, _LANES)
        by_quad = np.concatenate([packed & mask, packed >> 4], axis=2)
    else:
        packed = codes.reshape(-1, depth // (2 * _LANES), 1, _HALF, _LANES)
        halves = [[packed >> np.uint8(4 * quad + 2 * half) & mask for half in (0, 1)] for quad in (0, 1)]
        by_quad = np.concatenate([np.concatenate(each, axis=3) for each in halves], axis=2)
    by_row = by_quad.reshape(-1, depth // _LANES, PANEL, _LANES).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(by_row.reshape(-1, depth)[:rows, :columns])


def panel_scales(scales: Array, rows: int, format: BlockFormat) -> Array:
    """The scales of ``rows`` rows, from the first on: float32 [rows, blocks]."""
    by_panel = scales.reshape(-1, 1, PANEL) if format.block == WHOLE_ROW else scales
    return _by_row(by_panel)[:rows].astype(np.float32)


def _pack(levels: Array, format: BlockFormat) -> Array:
    """Codes uint8 [rows, K], one a byte -> uint8 [panels, bytes]."""
    rows, columns = levels.shape
    padding = ((0, _up(rows) - rows), (0, _up(columns) - columns))
    full = np.pad(levels, padding, constant_values=format.middle) if any(map(max, padding)) else levels
    by_quad = full.reshape(_panels(rows), PANEL, -1, _LANES).transpose(0, 2, 1, 3)
    low, high = by_quad[:, :, :_HALF], by_quad[:, :, _HALF:]
    if format.bits == 4:
        by_quad = low | high << 4
    elif format.bits == 2:
        by_quad = low[:, 0::2] | high[:, 0::2] << 2 | low[:, 1::2] << 4 | high[:, 1::2] << 6
    return np.ascontiguousarray(by_quad).reshape(_panels(rows), -1)


def _by_panel(values: Array, fill: int) -> Array:
    """[rows, blocks] -> [panels, blocks, 32]."""
    rows, blocks = values.shape
    full = np.pad(values, ((0, _up(rows) - rows), (0, 0)), constant_values=fill)
    return np.ascontiguousarray(full.reshape(-1, PANEL, blocks).transpose(0, 2, 1))


def _by_row(values: Array) -> Array:
    """[.., panels, blocks, 32] -> [all panels * 32, blocks]."""
    blocks = values.shape[-2]
    return values.reshape(-1, blocks, PANEL).transpose(0, 2, 1).reshape(-1, blocks)


def _up(count: int) -> int:
    return -(-count // PANEL) * PANEL


def _panels(rows: int) -> int:
    return -(-rows // PANEL)
