"""Products of experts over rows grouped by expert: gate and up with GeGLU, and down. bfloat16 or 4-bit weights.

    expert_gate_up:  h[s] = gelu_tanh (x[t] G_e^T) * (x[t] U_e^T)      t = row_token[s], e = tile_expert[s / tile]
    expert_down:     y[s] = h[s] D_e^T

Shapes: x [T, H], gate_up [E, 2I, H] (gate rows first), down [E, H, I], h [slots, I], y [slots, H]. 4-bit weights are
codes 0..15 that mean code - 8, times a scale per block of ``BLOCK_K`` weights, laid out in panels so that a program
reads whole kilobytes (`pack_panels`):

    codes  [E, rows / PANEL, blocks, PANEL, BLOCK_K / 2]   byte j: weight j in the low bits, j + BLOCK_K / 2 high
    scales [E, rows / PANEL, blocks, PANEL]

Each half of a block meets contiguous columns of x, and nothing is interleaved. Weights are the left operand, so that
what was made of codes goes into the product from registers. Products accumulate in float32; a block's scale multiplies
its sum. (The dtype is that of x: Triton's interpreter knows no bfloat16.) One kernel per product, no workspace: what
TensorRT's quick plugins can hold.
"""

from __future__ import annotations

import triton
import triton.language as tl

from g4compile.weights.layouts import PANEL as _PANEL

PANEL = tl.constexpr(_PANEL)


# Four bytes to four bfloat16 of their low and four of their high halves, minus 8: bytes are spread to 16 bits, the bits
# 0x4300 | code are 128 + code, exactly, and 136 is taken off in pairs: a third of the instructions of one by one.
_SPREAD = tl.constexpr("""{
.reg .b32 a, b, c, d, one, off;
mov.b32 one, 0x3f803f80;
mov.b32 off, 0xc308c308;
prmt.b32 a, $4, 0, 0x4140;
prmt.b32 b, $4, 0, 0x4342;
shr.b32 c, a, 4;
shr.b32 d, b, 4;
lop3.b32 a, a, 0x000f000f, 0x43004300, 0xea;
lop3.b32 b, b, 0x000f000f, 0x43004300, 0xea;
lop3.b32 c, c, 0x000f000f, 0x43004300, 0xea;
lop3.b32 d, d, 0x000f000f, 0x43004300, 0xea;
fma.rn.bf16x2 $0, a, one, off;
fma.rn.bf16x2 $1, b, one, off;
fma.rn.bf16x2 $2, c, one, off;
fma.rn.bf16x2 $3, d, one, off;
}""")


@triton.jit
def _centred(packed, like, TILE: tl.constexpr):
    """The low and the high codes of int8 ``packed``, minus 8, in the dtype of ``like``."""
    if like.dtype == tl.bfloat16 and TILE <= 16:  # with few tokens the conversion is what takes the time
        return tl.inline_asm_elementwise(
            _SPREAD, "=r,=r,=r,=r,r", [packed], dtype=(tl.bfloat16, tl.bfloat16), is_pure=True, pack=4
        )
    elif like.dtype == tl.bfloat16:  # with many it must leave registers to the product
        bits = packed.to(tl.int16) & 0xFF
        low = ((bits & 0xF) | 0x4300).to(tl.bfloat16, bitcast=True) - 136.0
        high = ((bits >> 4) | 0x4300).to(tl.bfloat16, bitcast=True) - 136.0
        return low.to(tl.bfloat16), high.to(tl.bfloat16)
    else:
        wide = packed.to(tl.int16) & 0xFF
        return ((wide & 0xF) - 8).to(like.dtype), ((wide >> 4) - 8).to(like.dtype)


@triton.jit
def _columns(x, stored, used, k, COLUMNS: tl.constexpr, BLOCK_K: tl.constexpr):
    """The two halves [BLOCK_K / 2, tokens] of block ``k`` of x^T. ``stored``: where rows of x begin."""
    at = k * BLOCK_K + tl.arange(0, BLOCK_K // 2)
    low, high = used[None, :], used[None, :]
    if COLUMNS % BLOCK_K != 0:  # the last block of a row is cut
        low = low & (at[:, None] < COLUMNS)
        high = high & (at[:, None] + BLOCK_K // 2 < COLUMNS)
    x_low = tl.load(x + stored[None, :] + at[:, None], mask=low, other=0)
    return x_low, tl.load(x + stored[None, :] + BLOCK_K // 2 + at[:, None], mask=high, other=0)


@triton.jit
def _accumulate(  # noqa: PLR0913 - a Triton kernel
    total, x_low, x_high, weight, scale, row, k, inside,
    COLUMNS: tl.constexpr, BLOCK_K: tl.constexpr, QUANTIZED: tl.constexpr,
):  # fmt: skip
    """``total`` [rows, tokens] plus the product of block ``k``: rows ``row`` of one expert's matrix [rows, COLUMNS]
    by x^T."""
    HALF: tl.constexpr = BLOCK_K // 2
    at = tl.arange(0, HALF)
    if QUANTIZED:
        place = ((row // PANEL) * (COLUMNS // BLOCK_K) + k) * PANEL + row % PANEL
        packed = tl.load(weight + place[:, None] * HALF + at[None, :], mask=inside[:, None], other=0)
        low, high = _centred(packed, x_low, x_low.shape[1])
        part = tl.dot(low, x_low)
        part = tl.dot(high, x_high, part)
        factor = tl.load(scale + place, mask=inside, other=0).to(tl.float32)
        return total + part * factor[:, None]
    else:
        base = weight + row[:, None] * COLUMNS + k * BLOCK_K + at[None, :]
        has_low, has_high = inside[:, None], inside[:, None]
        if COLUMNS % BLOCK_K != 0:
            has_low = has_low & (k * BLOCK_K + at[None, :] < COLUMNS)
            has_high = has_high & (k * BLOCK_K + HALF + at[None, :] < COLUMNS)
        low = tl.load(base, mask=has_low, other=0)
        high = tl.load(base + HALF, mask=has_high, other=0)
        total = tl.dot(low, x_low, total)
        return tl.dot(high, x_high, total)


@triton.jit
def _gelu_tanh(x):
    inner = 0.7978845608028654 * (x + 0.044715 * x * x * x)
    # tanh by the exponential of a number that is never positive, so that it cannot overflow
    decay = tl.exp(-2.0 * tl.abs(inner))
    size = (1.0 - decay) / (1.0 + decay)
    return 0.5 * x * (1.0 + tl.where(inner < 0, -size, size))


@triton.jit
def expert_gate_up(  # noqa: PLR0913 - a Triton kernel
    x,
    row_token,
    tile_expert,
    weight,
    scale,
    hidden,
    WIDTH: tl.constexpr,
    INNER: tl.constexpr,
    TILE: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    QUANTIZED: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """One program: a tile of rows by ``BLOCK_N`` columns of h. Grid: (tiles, ceil(INNER / BLOCK_N))."""
    tile = tl.program_id(1)
    expert = tl.load(tile_expert + tile)
    if expert < 0:
        return
    slots = tile * TILE + tl.arange(0, TILE)
    token = tl.load(row_token + slots)
    used = token >= 0
    column = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = column < INNER
    stored = token.to(tl.int64) * WIDTH
    BLOCKS: tl.constexpr = (WIDTH + BLOCK_K - 1) // BLOCK_K
    weight += expert.to(tl.int64) * (INNER * WIDTH if QUANTIZED else 2 * INNER * WIDTH)
    scale += expert.to(tl.int64) * (2 * INNER * BLOCKS)
    gate = tl.zeros((BLOCK_N, TILE), tl.float32)
    up = tl.zeros((BLOCK_N, TILE), tl.float32)
    for k in tl.range(0, BLOCKS, loop_unroll_factor=UNROLL):
        x_low, x_high = _columns(x, stored, used, k, WIDTH, BLOCK_K)
        gate = _accumulate(gate, x_low, x_high, weight, scale, column, k, inside, WIDTH, BLOCK_K, QUANTIZED)
        up = _accumulate(up, x_low, x_high, weight, scale, column + INNER, k, inside, WIDTH, BLOCK_K, QUANTIZED)
    # As the model rounds: each projection, then the product.
    narrow = hidden.dtype.element_ty
    gate = gate.to(narrow).to(tl.float32)
    up = up.to(narrow).to(tl.float32)
    active = _gelu_tanh(gate).to(narrow).to(tl.float32)
    out = hidden + slots[:, None].to(tl.int64) * INNER + column[None, :]
    tl.store(out, tl.trans((active * up).to(narrow)), mask=used[:, None] & inside[None, :])


@triton.jit
def expert_down(  # noqa: PLR0913 - a Triton kernel
    hidden,
    row_token,
    tile_expert,
    weight,
    scale,
    out,
    WIDTH: tl.constexpr,
    INNER: tl.constexpr,
    TILE: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    QUANTIZED: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """One program: a tile of rows by ``BLOCK_N`` columns of y. Grid: (tiles, ceil(WIDTH / BLOCK_N))."""
    tile = tl.program_id(1)
    expert = tl.load(tile_expert + tile)
    if expert < 0:
        return
    slots = tile * TILE + tl.arange(0, TILE)
    used = tl.load(row_token + slots) >= 0
    column = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = column < WIDTH
    stored = slots.to(tl.int64) * INNER
    BLOCKS: tl.constexpr = (INNER + BLOCK_K - 1) // BLOCK_K
    weight += expert.to(tl.int64) * (INNER * WIDTH // 2 if QUANTIZED else INNER * WIDTH)
    scale += expert.to(tl.int64) * (WIDTH * BLOCKS)
    total = tl.zeros((BLOCK_N, TILE), tl.float32)
    for k in tl.range(0, BLOCKS, loop_unroll_factor=UNROLL):
        x_low, x_high = _columns(hidden, stored, used, k, INNER, BLOCK_K)
        total = _accumulate(total, x_low, x_high, weight, scale, column, k, inside, INNER, BLOCK_K, QUANTIZED)
    place = out + slots[:, None].to(tl.int64) * WIDTH + column[None, :]
    tl.store(place, tl.trans(total.to(out.dtype.element_ty)), mask=used[:, None] & inside[None, :])
