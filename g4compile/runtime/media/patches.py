"""Pixels as patches: resized to a budget of tokens, cut into squares, with the place of each.

Sources: transformers `image_processing_pil_gemma4.py` (Gemma4ImageProcessorPil), and, for 12B,
`image_processing_gemma4_unified.py` (Gemma4UnifiedImageProcessor), whose `patches_merge` makes of 3 x 3 patches of 16
pixels what cutting into patches of 48 pixels gives at once.
"""

from __future__ import annotations

import math

import numpy as np

from g4compile.bundle.media import BUDGETS, PatchSpec
from g4compile.errors import InputError
from g4compile.runtime import arguments
from g4compile.runtime.media.libraries import library
from g4compile.runtime.media.records import Array, ImageInputs

_SCALED = (np.arange(256, dtype=np.float64) * (1 / 255)).astype(np.float32)  # of each value of a channel


def image_inputs(pixels: Array, spec: PatchSpec, budget: int | None = None, notes: tuple[str, ...] = ()) -> ImageInputs:
    """``pixels`` (uint8 [height, width, 3]) as patches, at most ``budget`` tokens of them (one of `BUDGETS`; None:
    what ``spec`` says). ``notes`` are passed on.

    Raises InputError for other arrays and budgets, and for an image so long that the model has no positions for it.
    """
    spec = with_budget(spec, budget)
    resized = resize(_checked(pixels), spec)
    patches = cut(resized, spec.patch_size)
    rows, columns = (side // spec.patch_size for side in resized.shape[:2])
    most = spec.max_soft_tokens * spec.pooling_kernel_size**2
    values = np.zeros((most, patches.shape[1]), np.float32)
    values[: len(patches)] = patches
    positions = np.full((most, 2), -1, np.int64)
    positions[: len(patches)] = np.indices((rows, columns))[::-1].reshape(2, -1).T  # column first
    return ImageInputs(values, positions, len(patches) // spec.pooling_kernel_size**2, notes)


def in_token_order(image: ImageInputs, spec: PatchSpec) -> tuple[Array, Array]:
    """What a vision encoder is given: `pixel_values` float32 [patches, pixels] and `pixel_position_ids` int64 [patches,
    2] of the patches of ``image`` alone, tokens row by row, and the patches of a token behind each other."""
    real = image.pixel_position_ids[:, 0] >= 0
    values, positions = image.pixel_values[real], image.pixel_position_ids[real]
    tokens = positions // spec.pooling_kernel_size
    order = np.lexsort((tokens[:, 0], tokens[:, 1]))
    return values[order], positions[order]


def with_budget(spec: PatchSpec, budget: int | None) -> PatchSpec:
    """``spec`` with another budget of tokens. Raises InputError for one that no model has."""
    if budget is None:
        return spec
    if not isinstance(budget, int | np.integer) or budget not in BUDGETS:
        raise arguments.refused("budget", budget, f"one of {', '.join(map(str, BUDGETS))}")
    return PatchSpec(spec.patch_size, spec.pooling_kernel_size, int(budget), spec.positions)


def target_size(height: int, width: int, spec: PatchSpec) -> tuple[int, int]:
    """Height and width in pixels that an image is resized to: its shape is kept as far as whole tokens allow, and it
    has at most `max_soft_tokens` of them (transformers `get_aspect_ratio_preserving_size`)."""
    unit = spec.patch_size * spec.pooling_kernel_size
    factor = math.sqrt(spec.max_soft_tokens * unit**2 / (height * width))
    rows, columns = math.floor(factor * height / unit), math.floor(factor * width / unit)
    if rows == 0:
        rows, columns = 1, min(math.floor(width / height), spec.max_soft_tokens)
    elif columns == 0:
        rows, columns = min(math.floor(height / width), spec.max_soft_tokens), 1
    return rows * unit, columns * unit


def resize(pixels: Array, spec: PatchSpec) -> Array:
    """``pixels`` in their `target_size`, by Pillow's bicubic filter, which smooths where it makes smaller.

    Raises InputError when the model has fewer positions than the result has patches along a side.
    """
    height, width = target_size(pixels.shape[0], pixels.shape[1], spec)
    longest = max(height, width) // spec.patch_size
    if longest > spec.positions:
        size = f"{pixels.shape[1]:,} x {pixels.shape[0]:,} pixels"
        raise InputError(
            f"the image is too long and narrow: it would be {longest:,} patches long",
            why=f"it has {size}, and the model has {spec.positions:,} positions along a side",
            fix="cut the image into shorter ones, or take a smaller budget",
        )
    if pixels.shape[:2] == (height, width):
        return pixels
    pillow = library("PIL.Image", "resizing an image")
    return np.asarray(pillow.fromarray(pixels).resize((width, height), pillow.Resampling.BICUBIC))


def cut(pixels: Array, size: int) -> Array:
    """Squares of uint8 [height, width, 3], row by row, as float32 [patches, size * size * 3] in 0..1. In a patch the
    order is row, column, channel."""
    rows, columns = pixels.shape[0] // size, pixels.shape[1] // size
    squares = pixels.reshape(rows, size, columns, size, 3).transpose(0, 2, 1, 3, 4)
    scaled: Array = _SCALED[squares.reshape(rows * columns, size * size * 3)]
    return scaled


def _checked(pixels: Array) -> Array:
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        found = f"{pixels.dtype} {list(pixels.shape)}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise InputError(f"pixels must be an array of uint8 [height, width, 3], got {found}")
    if not pixels.size:
        raise InputError("the image is empty", why=f"it has {pixels.shape[1]} x {pixels.shape[0]} pixels")
    return pixels
