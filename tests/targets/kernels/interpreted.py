"""Runs one kernel case in Triton's interpreter: `TRITON_INTERPRET=1 python tests/targets/kernels/interpreted.py
CASE`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[3]))
from g4compile.ops.expert_routing import route, slot_count
from g4compile.targets.kernels.flash_attention import flash_attention
from g4compile.targets.kernels.grouped_gemm import expert_down, expert_gate_up
from g4compile.weights.layouts import pack_panels
from tests.targets.kernels.reference import attention, dequantize, experts

# Triton's interpreter computes bfloat16 as its bits; the kernels take any dtype, and a GPU run checks bfloat16.
HALF = torch.float16


def relative(found, wanted):
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def grouped(quantized, width=64, inner=64):
    random = np.random.default_rng(3)
    tokens, choices, count, tile, block = 5, 2, 4, 16, 32 if not quantized else 16
    x = torch.from_numpy(random.standard_normal((tokens, width)).astype(np.float32)).to(HALF)
    index = np.stack([random.permutation(count)[:choices] for _ in range(tokens)])
    index[:, 0] = np.where(index[:, 0] == 3, 1, index[:, 0])  # one expert may stay without tokens
    shapes = {"gate_up": (count, 2 * inner, width), "down": (count, width, inner)}
    weights, operands, scales = {}, {}, {}
    for name, shape in shapes.items():
        size = block if name == "gate_up" else 16
        if quantized:
            codes = random.integers(0, 16, shape, np.uint8)
            scale = torch.from_numpy(
                0.05 + 0.1 * random.random((*shape[:-1], shape[-1] // size)).astype(np.float32)
            ).to(HALF)
            weights[name] = dequantize(codes, scale.float().numpy(), size)
            packed, by_panel = pack_panels(codes, scale.numpy(), size)
            operands[name], scales[name] = torch.from_numpy(packed.view(np.int8)), torch.from_numpy(by_panel)
        else:
            operands[name] = torch.from_numpy(random.standard_normal(shape).astype(np.float32) * 0.2).to(HALF)
            weights[name], scales[name] = operands[name].double().numpy(), operands[name]
    row_token, tile_expert, slot_of = (torch.from_numpy(part) for part in route(index, count, tile))
    slots = slot_count(tokens, choices, count, tile)
    hidden, out = torch.full((slots, inner), np.nan, dtype=HALF), torch.full((slots, width), np.nan, dtype=HALF)
    sizes = {"WIDTH": width, "INNER": inner, "TILE": tile, "BLOCK_N": 32, "QUANTIZED": quantized, "UNROLL": 2}
    expert_gate_up[(-(-inner // 32), slots // tile)](
        x, row_token, tile_expert, operands["gate_up"], scales["gate_up"], hidden, BLOCK_K=block, **sizes
    )
    expert_down[(-(-width // 32), slots // tile)](
        hidden, row_token, tile_expert, operands["down"], scales["down"], out, BLOCK_K=16, **sizes
    )
    found = out.double().numpy()[slot_of.numpy()]
    error = relative(found, experts(x.double().numpy(), index, weights["gate_up"], weights["down"]))
    assert error < 2e-3, error


def attend(width, window, ring):
    random = np.random.default_rng(5)
    batch, heads, kv_heads, new, slots = 2, 4, 2, 5, 24
    first = np.array([7, 12 if not ring else 30], np.int32)
    q, k, v = (
        torch.from_numpy(random.standard_normal(shape).astype(np.float32) / (3 if part else 1)).to(HALF)
        for part, shape in enumerate(
            [(batch, heads, new, width), (batch, kv_heads, slots, width), (batch, kv_heads, slots, width)]
        )
    )
    wanted = attention(*(x.double().numpy() for x in (q, k, v)), first, window, ring)
    for sequence, last in enumerate(first + new - 1):  # slots behind it were never written
        k[sequence, :, last + 1 :] = v[sequence, :, last + 1 :] = np.nan
    out = torch.full_like(q, np.nan)
    group = heads // kv_heads
    flash_attention[(batch * kv_heads, -(-new * group // 16))](
        q, k, v, torch.from_numpy(first), new, slots, out,
        HEADS=heads, KV_HEADS=kv_heads, WIDTH=width, WINDOW=window, RING=ring, BLOCK_M=16, BLOCK_N=16,
    )  # fmt: skip
    error = relative(out.double().numpy(), wanted)
    assert error < 2e-3, error


CASES = {
    "gate_up_down": lambda: grouped(quantized=False),
    "ragged": lambda: grouped(quantized=False, width=80, inner=40),
    "int4": lambda: grouped(quantized=True),
    "attention_full": lambda: attend(64, 0, 0),
    "attention_window": lambda: attend(32, 6, 0),
    "attention_ring": lambda: attend(32, 6, 1),
}

if __name__ == "__main__":
    CASES[sys.argv[1]]()
