"""Bytes of keys and values of one sequence: what is held, and what a token reads."""

from __future__ import annotations

from dataclasses import dataclass

from g4compile.bundle.kv import BFLOAT16
from g4compile.model.config import TextFacts
from g4compile.runtime.kv_cache import BLOCK
from g4compile.targets.base import FLOAT32
from g4compile.targets.onnx.bundle import kept_tokens, kv_token_bytes, ring_slots
from g4compile.targets.onnx.cuda.options import CudaOptions


@dataclass(frozen=True)
class Caches:
    """``held``: bytes at the planned context. ``token``: what full layers add for every token. ``windows``: what the
    full caches of sliding layers hold in all."""

    held: int
    token: int
    windows: int


def caches(text: TextFacts, tokens: int, kv: str, rings: bool) -> Caches:
    """Of a session on processors."""
    slots = {layer.index: (ring_slots(layer) if rings else kept_tokens(layer)) or 0 for layer in text.kv_layers}
    windows = sum(kv_token_bytes(layer, kv) * slots[layer.index] for layer in text.kv_layers)
    return Caches(kv_bytes(text, tokens, kv, rings), _token_bytes(text, kv), windows)


def gpu_caches(text: TextFacts, options: CudaOptions) -> Caches:
    """Of a session on a GPU, which has all slots from the first token on."""
    sizes = {layer.index: kv_token_bytes(layer, BFLOAT16) * options.slots(layer) for layer in text.kv_layers}
    windows = sum(sizes[layer.index] for layer in text.kv_layers if layer.window is not None)
    return Caches(sum(sizes.values()), _token_bytes(text, BFLOAT16), windows)


def kv_bytes(text: TextFacts, tokens: int, kv: str = FLOAT32, rings: bool = False) -> int:
    """KV bytes of one sequence after ``tokens``. Full layers grow in blocks, sliding ones hold a window, or are
    ``rings`` of fixed size."""
    total = 0
    for layer in text.kv_layers:
        slots, ring, kept = -(-tokens // BLOCK) * BLOCK, ring_slots(layer), kept_tokens(layer)
        if ring is not None and kept is not None:
            slots = ring if rings else min(tokens, kept)
        total += kv_token_bytes(layer, kv) * slots
    return total


def kv_read(text: TextFacts, tokens: int, kv: str) -> int:
    """Bytes attention reads for one token: shared layers read their producer's tensors again."""
    return sum(
        kv_token_bytes(layer, kv) * (tokens if layer.window is None else min(tokens, layer.window))
        for layer in text.layers
    )


def _token_bytes(text: TextFacts, kv: str) -> int:
    return sum(kv_token_bytes(layer, kv) for layer in text.kv_layers if layer.window is None)
