"""4-bit codes as `grouped_gemm.py` reads them: panels of rows, halves of a block in the two halves of a byte."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
PANEL = 64  # rows of a weight whose codes of one block stand together


def pack_panels(codes: Array, scales: Array, block: int) -> tuple[Array, Array]:
    """uint8 codes [E, N, K] below 16 and scales [E, N, K / block] -> packed codes and scales in panels.

    Codes are uint8 [E, N / PANEL, K / block, PANEL, block / 2], scales [E, N / PANEL, K / block, PANEL]. N must be a
    multiple of PANEL, and K of ``block``.
    """
    experts, rows, columns = codes.shape
    blocks = columns // block
    halves = codes.reshape(experts, rows // PANEL, PANEL, blocks, 2, block // 2)
    packed = halves[..., 0, :] | halves[..., 1, :] << np.uint8(4)
    by_panel = scales.reshape(experts, rows // PANEL, PANEL, blocks)
    return np.ascontiguousarray(packed.swapaxes(2, 3)), np.ascontiguousarray(by_panel.swapaxes(2, 3))


def unpack_panels(codes: Array, scales: Array) -> Array:
    """The weights [E, N, K], in the dtype of ``scales``, that codes in panels stand for.

    Codes are int8 or uint8 [E, panels, blocks, PANEL, block / 2], scales [E, panels, blocks, PANEL].
    """
    packed = codes.view(np.uint8)
    levels = np.concatenate([packed & 15, packed >> 4], -1).astype(scales.dtype) - scales.dtype.type(8)
    by_row = (levels * scales[..., None]).swapaxes(2, 3)
    experts, panels, high, blocks, block = by_row.shape
    weights: Array = by_row.reshape(experts, panels * high, blocks * block)
    return weights
