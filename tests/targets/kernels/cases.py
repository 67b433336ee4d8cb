"""Kernels of Gemma 4 at their real sizes: experts of 26B-A4B, attention of 31B's and E2B's full layers."""

from __future__ import annotations

from g4compile.targets.kernels import variants
from g4compile.targets.kernels.configs import BLOCK_DOWN, BLOCK_GATE_UP

EXPERTS = {"width": 2816, "inner": 704}
FEW = {
    "gate_up-16": variants.expert_gate_up(**EXPERTS, tile=16, block=0),
    "gate_up-64-int4": variants.expert_gate_up(**EXPERTS, tile=64, block=BLOCK_GATE_UP),
    "down-128": variants.expert_down(**EXPERTS, tile=128, block=0),
    "attention-31b": variants.flash_attention(32, 4, 512),
}
ALL = {
    **{
        f"{kernel}-{tile}-{block}": getattr(variants, kernel)(**EXPERTS, tile=tile, block=block)
        for kernel, coded in (("expert_gate_up", BLOCK_GATE_UP), ("expert_down", BLOCK_DOWN))
        for tile in (16, 64, 128)
        for block in (coded, 0)
    },
    "attention-31b": variants.flash_attention(32, 4, 512),
    "attention-e2b": variants.flash_attention(8, 1, 512),
    "attention-256": variants.flash_attention(8, 1, 256),
}
