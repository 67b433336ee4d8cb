"""What the codes of a bundle stand for: float32 weights by checkpoint key, for HF to hold.

Read from the bundle's own files and dequantised by the definition of the format, not by the compiler that wrote
them: a code that went wrong on its way to disk shows as a difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np

from g4compile.bundle.folder import Bundle
from g4compile.bundle.manifest import DATA, PANELS, QuantizedSpec, WeightSpec
from g4compile.bundle.weight_codes import BlockPart, parse_steps, parse_words
from g4compile.bundle.weight_steps import undo_reorders
from g4compile.errors import BundleError
from g4compile.weights.bundle_weights import initializers
from g4compile.weights.formats.blocks import BlockFormat, Codes
from g4compile.weights.formats.channel_panels import from_panels
from g4compile.weights.formats.float8 import FLOAT8
from g4compile.weights.formats.int4 import dequantize
from g4compile.weights.stored import STORED

Array = np.ndarray[Any, Any]


def dequantized(bundle: Bundle) -> Iterator[tuple[str, Array]]:
    """Checkpoint key and float32 weight of each weight that compiling quantised, one at a time.

    Nothing for codes taken from the checkpoint: HF holds them itself. Raises BundleError for codes that are not there.
    """
    if bundle.manifest.weights == STORED:
        return
    if bundle.manifest.engine is not None:
        yield from _engine_weights(bundle)
        return
    stored = initializers(bundle)
    for key, spec in bundle.manifest.quantized.items():
        try:
            weight = _weight(spec, {part: stored.get(f"{key}.{part}") for part in ("codes", "scales", "zero_points")})
        except ValueError as error:  # of NumPy: sizes that do not fit
            raise BundleError(
                f"the bundle does not hold the codes of {key} that its manifest lists",
                where=str(bundle.folder),
                why=str(error),
                fix="do not use this bundle; compile it again",
            ) from error
        yield key, weight


def holds_made_codes(bundle: Bundle) -> bool:
    """Whether `dequantized` gives any weight: compiling made codes of weights that the checkpoint holds in float."""
    manifest = bundle.manifest
    if manifest.engine is not None:
        return any(_is_coded(weight) for weight in manifest.engine.weights)
    return manifest.weights != STORED and bool(manifest.quantized)


def _is_coded(weight: WeightSpec) -> bool:
    return weight.offset is not None and weight.name.endswith(".codes")


def _engine_weights(bundle: Bundle) -> Iterator[tuple[str, Array]]:
    """From `weights.data`, heads back in the checkpoint's order. Of a tied table the last product alone reads codes:
    it has the key of an untied one."""
    spec = bundle.manifest.engine
    assert spec is not None
    coded = {weight.name: weight for weight in spec.weights if weight.offset is not None}
    for name, codes in coded.items():
        if not _is_coded(codes):
            continue
        scales = _bytes(bundle, coded[name.removesuffix("codes") + "scales"]).view(ml_dtypes.bfloat16)
        if codes.dtype == "uint8":
            weight = _of_blocks(bundle, codes, scales)
        elif codes.dtype == "int4":
            columns = codes.shape[-1]
            packed = _bytes(bundle, codes).reshape(-1, columns // 2)
            weight = dequantize(packed, scales.reshape(len(packed), -1), columns).reshape(codes.shape)
        else:
            turned = _bytes(bundle, codes).view(FLOAT8).reshape(codes.shape).astype(np.float32)
            weight = np.swapaxes(turned, -1, -2) * np.float32(scales[0])
        key = "lm_head.weight" if codes.key.endswith("embed_tokens.weight") else codes.key
        yield key, undo_reorders(weight, parse_steps(codes.steps))


def _of_blocks(bundle: Bundle, codes: WeightSpec, scales: Array) -> Array:
    (part,) = (word for word in parse_words(codes.steps) if isinstance(word, BlockPart))
    format = BlockFormat(part.bits, part.block, part.symmetric, part.scales)
    *leading, blocks, width = codes.shape
    packed = Codes(
        _bytes(bundle, codes).reshape(-1, blocks, width), scales.reshape(-1, blocks).astype(np.float32), None
    )
    return format.dequantize(packed, part.columns).reshape(*leading, part.columns)


def _bytes(bundle: Bundle, weight: WeightSpec) -> Array:
    return np.fromfile(bundle.folder / DATA, np.uint8, weight.bytes, offset=weight.offset or 0)


def _weight(spec: QuantizedSpec, parts: dict[str, Array | None]) -> Array:
    codes, scales, zeros = parts["codes"], parts["scales"], parts["zero_points"]
    format, columns = BlockFormat(spec.bits, spec.block, spec.symmetric), spec.shape[-1]
    if codes is None or scales is None:
        raise ValueError(f"its graphs have no {'codes' if codes is None else 'scales'} of this name")
    if spec.layout == PANELS:
        return from_panels(Codes(codes, scales, zeros), spec.shape, format) / np.float32(spec.scale)
    rows = codes.reshape(-1, format.blocks(columns), format.width(columns) * format.bits // 8)
    packed = Codes(
        rows,
        scales.astype(np.float32).reshape(len(rows), -1),
        None if zeros is None else zeros.reshape(len(rows), -1),
    )
    weight: Array = format.dequantize(packed, columns).reshape(spec.shape) / np.float32(spec.scale)
    return weight
