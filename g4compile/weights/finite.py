"""Numbers of a checkpoint that are none: NaN and infinity, which one product spreads over all that follows.

No tensor of a decoder may hold one. The bounds of clipped linears (`input_min` and three more, of vision and audio) are
infinite where nothing is clipped; nothing reads them yet.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from g4compile.errors import CheckpointError
from g4compile.weights.checkpoint import Checkpoint

_EXPONENT = np.uint16(0x7F80)  # of bfloat16: all ones in NaN and infinity


def check_finite(array: np.ndarray[Any, Any], key: str, checkpoint: Checkpoint) -> None:
    """Raise CheckpointError, which names tensor ``key`` of ``checkpoint``, when a number of ``array`` is not finite.

    ``array``: float numbers of the tensor, as stored or as a graph wants them.
    """
    if _finite(array):
        return
    wide = array.astype(np.float32)
    nans, infinite = int(np.isnan(wide).sum()), int(np.isinf(wide).sum())
    raise CheckpointError(
        f"tensor {key} holds numbers that are not finite",
        where=str(checkpoint.tensors[key].file),
        why=f"of {array.size:,} numbers that were read together, {nans:,} are NaN and {infinite:,} infinite in float32",
        fix="the checkpoint is damaged, or its training failed: take another one",
    )


def _finite(array: np.ndarray[Any, Any]) -> bool:
    if array.dtype == ml_dtypes.bfloat16:  # by its bits: numpy would make float32 of it first
        return not ((array.view(np.uint16) & _EXPONENT) == _EXPONENT).any()
    return bool(np.isfinite(array).all())
