"""Checkpoints whose weights are codes already: transformers' `quant_method: gemma` (Google's mobile checkpoints).

    X.weight              uint8 [N, K * bits / 8], first weight in the lowest bits, code + 2^(bits-1);
                          int8 [N, K] for 8 bits
    X.weight_scale        float32 [N, 1]
    X.embedding_quantized, X.embedding_scale       the same of a lookup; its scale may be one for each of several slices
    X.input_activation_scale, X.output_activation_scale     float32 scalars: see `ops/round_activations.py`; 0 is off

Codes are taken as they are. Source: transformers `integrations/gemma_quant.py`, QuantizedLinear and QuantizedEmbedding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from g4compile.errors import CheckpointError
from g4compile.model.keys import module_of_key
from g4compile.weights.checkpoint import Checkpoint
from g4compile.weights.finite import check_finite
from g4compile.weights.formats.blocks import BITS, WHOLE_ROW, BlockFormat, Codes
from g4compile.weights.recipe import Rule

STORED = "stored"  # in the place of a quantiser's name: codes are read, not made
FLOATS = ("F64", "F32", "F16", "BF16")  # safetensors' names
_ACTIVATION_SCALES = (".input_activation_scale", ".output_activation_scale")
_LONGEST, _SHORTEST = 4096, 16  # weights a stored block may have: what kernels take


@dataclass(frozen=True)
class StoredCodes:
    """Where a checkpoint keeps the codes [N, bytes] and scales [N, slices] of a weight [N, K], and their bits."""

    codes_key: str
    scales_key: str
    bits: int
    slices: int


def stored_codes(checkpoint: Checkpoint, key: str, shape: tuple[int, ...]) -> StoredCodes | None:
    """How ``key``, wanted as ``shape`` [N, K], is stored as codes; None when it is stored in float or not at all.

    Raises CheckpointError when codes, scales or steps do not have the sizes and dtypes of such a weight.
    """
    if len(shape) != 2:
        return None
    module = key.removesuffix(".weight")
    names = ((key, f"{module}.weight_scale"), (f"{module}.embedding_quantized", f"{module}.embedding_scale"))
    for codes_key, scales_key in names:
        if codes_key in checkpoint.tensors and scales_key in checkpoint.tensors:
            return _checked(checkpoint, codes_key, scales_key, shape)
    return None


def _checked(checkpoint: Checkpoint, codes_key: str, scales_key: str, shape: tuple[int, ...]) -> StoredCodes:
    codes, scales = checkpoint.tensors[codes_key], checkpoint.tensors[scales_key]
    rows, columns = shape
    sizes = {bits: (rows, -(-columns * bits // 8)) for bits in BITS}
    possible = [8] if codes.dtype == "I8" else [2, 4] if codes.dtype == "U8" else []
    bits = next((bits for bits in possible if codes.shape == sizes[bits]), None)
    if bits is None:
        raise CheckpointError(
            f"tensor {codes_key} is {codes.dtype} {list(codes.shape)}, "
            f"which holds no weight {list(shape)} at 2, 4 or 8 bits",
            where=str(codes.file),
        )
    slices = scales.shape[1] if len(scales.shape) == 2 and scales.shape[0] == rows else 0
    if not slices or columns % slices:
        raise CheckpointError(
            f"tensor {scales_key} has shape {list(scales.shape)}, the config asks for [{rows}, 1]",
            where=str(scales.file),
        )
    module = scales_key.rpartition(".")[0]
    steps = [checkpoint.tensors[module + name] for name in _ACTIVATION_SCALES if module + name in checkpoint.tensors]
    for one in (scales, *steps):
        if one.dtype not in FLOATS or (one is not scales and one.shape not in ((), (1,))):
            raise CheckpointError(
                f"tensor {one.key} is {one.dtype} {list(one.shape)}, which is no scale: one float, or one a row",
                where=str(one.file),
            )
    return StoredCodes(codes_key, scales_key, bits, slices)


def stored_format(stored: StoredCodes, columns: int) -> BlockFormat:
    """The format that holds these codes: one scale per row, or one per block, the longest that divides a slice.

    Raises CheckpointError for slices that no stored block fits.
    """
    if stored.slices == 1:
        return BlockFormat(stored.bits, WHOLE_ROW)
    size = columns // stored.slices
    longest = size & -size
    if longest < _SHORTEST:
        raise CheckpointError(
            f"tensor {stored.scales_key} has a scale for every {size} weights",
            why=f"kernels read blocks of at least {_SHORTEST}, a power of two",
        )
    return BlockFormat(stored.bits, min(longest, _LONGEST))


def stored_rule(checkpoint: Checkpoint, key: str, shape: tuple[int, ...]) -> Rule:
    """What a recipe would say of weight ``key`` [..., K]. Products round activations to 8 bits, as such models were
    trained to."""
    stored = stored_codes(checkpoint, key, shape) if len(shape) == 2 else None
    return Rule(module_of_key(key), None if stored is None else stored_format(stored, shape[1]), "int8", STORED)


def read_stored(checkpoint: Checkpoint, stored: StoredCodes, format: BlockFormat, rows: tuple[int, int]) -> Codes:
    """Rows of the codes, cut into the blocks of ``format``, which all have the scale of their slice."""
    packed = checkpoint.read_rows(stored.codes_key, *rows)
    scales = checkpoint.read_rows(stored.scales_key, *rows).astype(np.float32)
    check_finite(scales, stored.scales_key, checkpoint)
    if stored.bits == 8:
        packed = packed.view(np.uint8) ^ np.uint8(128)  # two's complement -> offset 128
    columns = packed.shape[1] * 8 // stored.bits
    blocks, width = format.blocks(columns), format.width(columns) * stored.bits // 8
    middle = {2: 0xAA, 4: 0x88, 8: 0x80}[stored.bits]  # a byte of zeros
    padded = np.pad(packed, ((0, 0), (0, blocks * width - packed.shape[1])), constant_values=middle)
    repeated = np.repeat(scales, blocks // stored.slices, axis=1)
    return Codes(padded.reshape(len(packed), blocks, width), repeated, None)


def activation_scales(checkpoint: Checkpoint, key: str) -> tuple[float, float]:
    """Steps to which the input and the output of the product with weight ``key`` are rounded; 0: not at all.

    Raises CheckpointError for a step that is negative or not finite."""
    module = key.removesuffix(".weight")
    found = [
        _step(checkpoint, module + name) if module + name in checkpoint.tensors else 0.0 for name in _ACTIVATION_SCALES
    ]
    return found[0], found[1]


def _step(checkpoint: Checkpoint, key: str) -> float:
    step = checkpoint.read(key)
    check_finite(step, key, checkpoint)
    if step.item() < 0:
        raise CheckpointError(
            f"tensor {key} is {step.item():g}, which is no step to round to", where=str(checkpoint.tensors[key].file)
        )
    return float(step.item())


def companions(checkpoint: Checkpoint, stored: StoredCodes) -> Iterator[str]:
    """Keys of all tensors that belong to ``stored``."""
    module = stored.scales_key.rpartition(".")[0]
    yield from (stored.codes_key, stored.scales_key)
    yield from (module + name for name in _ACTIVATION_SCALES if module + name in checkpoint.tensors)
