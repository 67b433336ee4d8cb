"""Random checkpoints whose weights are codes, in the layout of Google's mobile ones (`quant_method: gemma`).

A recipe says the bits of each module; the codes are those of the random float weight, one scale per row. What the
layout holds is described in `weights/stored.py`. Source: transformers `integrations/gemma_quant.py`.
"""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from g4compile.errors import InputError
from g4compile.model.contents import AUDIO, DECODER, VISION
from g4compile.model.keys import module_of_key
from g4compile.synth.tensors import Tensor, random_tensor
from g4compile.weights.formats.blocks import WHOLE_ROW, Array, BlockFormat, Codes
from g4compile.weights.quantize import nearest
from g4compile.weights.recipe import Recipe, Rule

RECIPES = ("mobile", "mobile-e4b")
# What Google leaves in float, and what transformers must not look for codes of.
_FLOAT = (
    "per_layer_model_projection",
    "patch_embedder.input_proj",
    "subsample_conv_projection.input_proj_linear",
    "relative_k_proj",
    "audio_tower.output_proj",
    "embed_vision.patch_dense",  # 12B's
    "embedding_projection",
)
_ROWS_AT_ONCE = 256
_OFF = 8  # one product in so many has a rounding step of 0, which is none


def quantization_config(recipe: Recipe) -> dict[str, Any]:
    """The config's `quantization_config`: the bits by patterns of module names."""
    rules = (rule for part in (DECODER, VISION, AUDIO) for rule in recipe.rules_of(part))
    bits: dict[str, dict[str, int]] = {}
    for rule in rules:
        if rule.format:  # of rules with the same pattern the first decides
            bits.setdefault(_regex(rule), {"num_bits": rule.format.bits})
    return {
        "quant_method": "gemma",
        "num_bits": 8,
        "quantize_embeddings": True,
        "module_quant_configs": bits,
        "modules_to_not_convert": list(_FLOAT),
    }


def _regex(rule: Rule) -> str:
    return rf"(?:^|\.){re.escape(rule.pattern).replace(chr(92) + '*', '.*')}$".replace(r"\[", "[").replace(r"\]", "]")


def stored_tensors(
    key: str, shape: tuple[int, ...], dtype: np.dtype[Any], recipe: Recipe, seed: int
) -> Iterator[Tensor]:
    """What stands in a quantised checkpoint for the float tensor ``key``: codes and scales, or itself.

    Raises InputError for expert tables, which this layout has no place for.
    """
    module = module_of_key(key)
    rule = recipe.rule(module)
    if "experts." in key:
        raise InputError("this layout has no place for expert tables", fix="synthesise without --weights")
    if len(shape) != 2 or _is_float(module) or rule.format is None:
        yield Tensor(key, shape, dtype, lambda: random_tensor(key, shape, seed))
        return
    format, stem = BlockFormat(rule.format.bits, WHOLE_ROW), key.removesuffix(".weight")
    rows, columns = shape
    packed, kind = (rows, -(-columns * format.bits // 8)), np.dtype(np.int8 if format.bits == 8 else np.uint8)
    lookup = "embed_tokens" in module
    names = (f"{stem}.embedding_quantized", f"{stem}.embedding_scale") if lookup else (key, f"{stem}.weight_scale")
    made = functools.lru_cache(maxsize=1)(lambda: _quantized(key, shape, format, seed))
    yield Tensor(names[0], packed, kind, lambda: made()[0])
    yield Tensor(names[1], (rows, 1), np.dtype(np.float32), lambda: made()[1])
    if not lookup:
        for name in ("input_activation_scale", "output_activation_scale"):
            step = _activation_step(f"{stem}.{name}", seed)
            yield Tensor(f"{stem}.{name}", (), np.dtype(np.float32), functools.partial(np.array, step, np.float32))


def _is_float(module: str) -> bool:
    return module.endswith((*_FLOAT, "vision_embedder.patch_dense"))


def _activation_step(key: str, seed: int) -> float:
    """A step that lets values of unit size reach 6 to 10 before they are cut off."""
    random = np.random.default_rng([seed, zlib.crc32(key.encode())])
    return 0.0 if random.integers(_OFF) == 0 else float(random.uniform(6, 10) / 127)


def _quantized(key: str, shape: tuple[int, ...], format: BlockFormat, seed: int) -> tuple[Array, Array]:
    """Codes as stored, and scales [N, 1]."""
    weight = random_tensor(key, shape, seed)
    pieces = [
        _piece(nearest(weight[i : i + _ROWS_AT_ONCE], format), format, shape[1])
        for i in range(0, shape[0], _ROWS_AT_ONCE)
    ]
    return np.concatenate([codes for codes, _ in pieces]), np.concatenate([scales for _, scales in pieces])


def _piece(made: Codes, format: BlockFormat, columns: int) -> tuple[Array, Array]:
    codes = made.codes.reshape(len(made.codes), -1)[:, : -(-columns * format.bits // 8)]
    return (codes ^ np.uint8(128)).view(np.int8) if format.bits == 8 else codes, made.scales[:, :1]
