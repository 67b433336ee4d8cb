"""Products of rows by weights, with what stands in front of them and behind: y = activation (x W^T).

    product_one   one row: x stays in registers, and every program makes it anew; weights are read once, from memory
    product_rows  many rows, in tiles: matrix units

W is up to three matrices [N, K] whose results stand side by side, or a gate and an up matrix; bfloat16, or codes of 4
or 8 bits in blocks with a bfloat16 scale each (`weights/formats/blocks.py`, symmetric). With ``GROUPED`` it is
[E, N, K] and each tile of rows has an expert (`ops/expert_routing.py`).

    ACTIVATION  0 none, 1 GeGLU of two matrices, 2 gelu_tanh times `gate`, 3 soft-cap

Sums in float32. In Triton's interpreter, which knows no bfloat16, all of it is float32.
"""

from __future__ import annotations

import triton
import triton.language as tl

from g4compile.targets.kernels.codes import halves_of_codes
from g4compile.targets.kernels.dependent import begin, wait
from g4compile.targets.kernels.elements import gelu_tanh, inverse_root, tanh
from g4compile.targets.kernels.norms import stream_at, stream_weights

NONE, GEGLU, GATE, SOFTCAP = (tl.constexpr(number) for number in range(4))


@triton.jit
def _add_codes(total, moved, low, high, one, BITS: tl.constexpr):
    """``total`` plus the codes of a byte, at bits 15 to 22 of ``moved``, times x: of one code, or ``low`` and ``high``.

    An instruction makes a number of a code: it is put into the mantissa of 1. The number is 1 + code / 256, or, of the
    high half of a byte, 1 + code / 16."""
    if BITS == 8:
        return total + ((moved & 0x7F8000) | one).to(tl.float32, bitcast=True) * low[None, :]
    else:
        total += ((moved & 0x078000) | one).to(tl.float32, bitcast=True) * low[None, :]
        return total + ((moved & 0x780000) | one).to(tl.float32, bitcast=True) * high[None, :]


@triton.jit
def _sums_of_words(bits, factors, x, BITS: tl.constexpr):
    """Of each word of ``bits`` int32 [rows, words] the sum of its codes, times its factor, by float32 x, a number for
    each code: float32 [rows, words], in units of `_add_codes`. What a code's number is too much by is taken off at the
    end of a word."""
    WORDS: tl.constexpr = bits.shape[1]
    # The bits of 1.0, in a way that no compiler knows them: it then joins the two steps of `_add_codes` in one.
    one = 0x3F800000 + tl.program_id(2)
    if BITS == 8:
        even, odd = tl.split(tl.reshape(x, (WORDS, 2, 2)))
        low0, low2 = tl.split(even)
        low1, low3 = tl.split(odd)
        high0, high1, high2, high3 = low0, low1, low2, low3
        middle = 1.5 * ((low0 + low2) + (low1 + low3))
    else:
        low, high = tl.split(tl.reshape(x, (WORDS, 4, 2)))
        low *= 16.0  # so that both halves of a byte weigh the same
        middle = tl.sum((1 + 0.5 / 16) * low + 1.5 * high, 1)
        low_even, low_odd = tl.split(tl.reshape(low, (WORDS, 2, 2)))
        low0, low2 = tl.split(low_even)
        low1, low3 = tl.split(low_odd)
        high_even, high_odd = tl.split(tl.reshape(high, (WORDS, 2, 2)))
        high0, high2 = tl.split(high_even)
        high1, high3 = tl.split(high_odd)
    total = tl.zeros(bits.shape, tl.float32)
    total = _add_codes(total, bits << 15, low0, high0, one, BITS)
    total = _add_codes(total, bits << 7, low1, high1, one, BITS)
    total = _add_codes(total, bits >> 1, low2, high2, one, BITS)
    total = _add_codes(total, bits >> 9, low3, high3, one, BITS)
    return (total - middle[None, :]) * factors


@triton.jit
def _codes(weight, scale, row, word, WORDS, BLOCKS, BITS: tl.constexpr, BLOCK: tl.constexpr):
    """Words ``word`` of rows ``row``, and the scale of each word."""
    inside = (word < WORDS)[None, :]
    place = row[:, None].to(tl.int64) * WORDS + word[None, :]
    bits = tl.load(weight + place, mask=inside, other=0, eviction_policy="evict_first")
    block = word // (BLOCK * BITS // 32)
    factors = tl.load(scale + row[:, None] * BLOCKS + block[None, :], mask=inside, other=0)
    return bits, factors.to(tl.float32)


@triton.jit
def _finish(first, second, gate, CAP: tl.constexpr, ACTIVATION: tl.constexpr):
    if ACTIVATION == GEGLU:
        first = gelu_tanh(first) * second
    elif ACTIVATION == GATE:
        first = gelu_tanh(first) * gate
    elif ACTIVATION == SOFTCAP:
        first = CAP * tanh(first / CAP)
    return first


@triton.jit
def product_one(  # noqa: PLR0913 - a Triton kernel
    h, p, post, scalar, pre, w0, w1, w2, s0, s1, s2, gate, tile_expert, y, v, N0, N1, N2, K, GATE_AT, TILES,
    ADDS: tl.constexpr, SCALED: tl.constexpr, NORMED: tl.constexpr, FACTOR: tl.constexpr, ACTIVATION: tl.constexpr,
    CAP: tl.constexpr, EPSILON: tl.constexpr, BITS: tl.constexpr, BLOCK: tl.constexpr, GROUPED: tl.constexpr,
    ROW_OF_TILE: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, WHOLE: tl.constexpr,
    DEPENDENT: tl.constexpr,
):  # fmt: skip
    """Grid: (N / BLOCK_N, tiles). ``BLOCK_K`` numbers of K at once; all of them with ``WHOLE``, which a norm needs.
    Every N is a multiple of BLOCK_N. Grouped rows: tile t has the expert and the row t of x (or row 0)."""
    begin(DEPENDENT)
    first = tl.program_id(0) * BLOCK_N
    weight, scale, local = w0, s0, first
    if ACTIVATION != GEGLU:
        if first >= N0 + N1:
            weight, scale, local = w2, s2, first - N0 - N1
        elif first >= N0:
            weight, scale, local = w1, s1, first - N0
    row = local + tl.arange(0, BLOCK_N)
    waited = DEPENDENT
    if GROUPED:
        wait(DEPENDENT)
        waited = 0
        tile = tl.program_id(1)
        expert = tl.load(tile_expert + tile)
        if expert < 0:
            return
        rows = expert * (2 * N0 if ACTIVATION == GEGLU else N0)
        row = rows + row
        y += tile.to(tl.int64) * N0
        if ROW_OF_TILE:
            h += tile.to(tl.int64) * K
    second = row + N0
    other_weight, other_scale = weight, scale
    if ACTIVATION == GEGLU and not GROUPED:
        second = row
        other_weight, other_scale = w1, s1
    at_y = first + tl.arange(0, BLOCK_N)
    sums = tl.zeros((BLOCK_N,), tl.float32)
    others, beside = sums, sums
    if BITS == 16:
        at = tl.arange(0, BLOCK_K)
        inside = at < K
        place = row.to(tl.int64)[:, None] * K + at[None, :]
        tile_w = tl.load(weight + place, mask=inside[None, :], other=0, eviction_policy="evict_first")
        if ACTIVATION == GEGLU:
            place_u = second.to(tl.int64)[:, None] * K + at[None, :]
            tile_u = tl.load(other_weight + place_u, mask=inside[None, :], other=0, eviction_policy="evict_first")
        after, size, before = stream_weights(post, scalar, pre, at, inside, ADDS, SCALED, NORMED)
        wait(waited)
        if ACTIVATION == GATE:
            beside = tl.load(gate + GATE_AT + at_y).to(tl.float32)
        x = stream_at(h, p, after, size, at, inside, K, ADDS, EPSILON)
        if (ADDS or SCALED) and first == 0:
            tl.store(v + at, x, mask=inside)
        if NORMED:
            x = x * (inverse_root(tl.sum(x * x), K, EPSILON) * FACTOR) * before
        if WHOLE:
            sums = tl.sum(tile_w.to(tl.float32) * x[None, :], 1)
            if ACTIVATION == GEGLU:
                others = tl.sum(tile_u.to(tl.float32) * x[None, :], 1)
        else:
            total = tile_w.to(tl.float32) * x[None, :]
            for start in tl.range(BLOCK_K, K, BLOCK_K, num_stages=4):
                inside = start + at < K
                tile_w = tl.load(weight + place + start, mask=inside[None, :], other=0, eviction_policy="evict_first")
                x = tl.load(h + start + at, mask=inside, other=0).to(tl.float32)
                total += tile_w.to(tl.float32) * x[None, :]
            sums = tl.sum(total, 1)
    else:
        PER: tl.constexpr = 32 // BITS
        blocks = tl.cdiv(K, BLOCK)
        words = blocks * (BLOCK // PER)
        word = tl.arange(0, BLOCK_K // PER)
        at = tl.arange(0, BLOCK_K)
        inside = at < K
        bits, factors = _codes(weight, scale, row, word, words, blocks, BITS, BLOCK)
        if ACTIVATION == GEGLU:
            bits_u, factors_u = _codes(other_weight, other_scale, second, word, words, blocks, BITS, BLOCK)
        after, size, before = stream_weights(post, scalar, pre, at, inside, ADDS, SCALED, NORMED)
        wait(waited)
        if ACTIVATION == GATE:
            beside = tl.load(gate + GATE_AT + at_y).to(tl.float32)
        x = stream_at(h, p, after, size, at, inside, K, ADDS, EPSILON)
        if (ADDS or SCALED) and first == 0:
            tl.store(v + at, x, mask=inside)
        if NORMED:
            x = x * (inverse_root(tl.sum(x * x), K, EPSILON) * FACTOR) * before
        total = _sums_of_words(bits, factors, x, BITS)
        total_u = total
        if ACTIVATION == GEGLU:
            total_u = _sums_of_words(bits_u, factors_u, x, BITS)
        if not WHOLE:
            for start in tl.range(BLOCK_K, K, BLOCK_K):
                bits, factors = _codes(weight, scale, row, start // PER + word, words, blocks, BITS, BLOCK)
                x = tl.load(h + start + at, mask=start + at < K, other=0).to(tl.float32)
                total += _sums_of_words(bits, factors, x, BITS)
                if ACTIVATION == GEGLU:
                    bits_u, factors_u = _codes(
                        other_weight, other_scale, second, start // PER + word, words, blocks, BITS, BLOCK
                    )
                    total_u += _sums_of_words(bits_u, factors_u, x, BITS)
        UNIT: tl.constexpr = 1 << BITS  # what a code of 1 is less in `_add_codes`
        sums = tl.sum(total, 1) * UNIT
        if ACTIVATION == GEGLU:
            others = tl.sum(total_u, 1) * UNIT
    result = _finish(sums, others, beside, CAP, ACTIVATION)
    tl.store(y + at_y, result.to(y.dtype.element_ty))


@triton.jit
def _accumulate(  # noqa: PLR0913 - a Triton kernel
    total, x, weight, scale, row, inside, stored, used, k, K, blocks,
    BITS: tl.constexpr, BLOCK: tl.constexpr, BLOCK_K: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """``total`` [BLOCK_N, TILE] plus columns from ``k`` on: rows ``row`` of W by rows of x that begin at ``stored``."""
    if BITS == 16:
        at = k + tl.arange(0, BLOCK_K)
        here, there = inside[:, None], used[None, :]
        if not EVEN:
            here, there = here & (at < K)[None, :], there & (at < K)[:, None]
        part_w = tl.load(weight + row.to(tl.int64)[:, None] * K + at[None, :], mask=here, other=0)
        part_x = tl.load(x + stored[None, :] + at[:, None], mask=there, other=0)
        if part_x.dtype == tl.float32 and part_w.dtype == tl.bfloat16:  # as two numbers of 8 bits each, on matrix units
            high = part_x.to(tl.bfloat16)
            total = tl.dot(part_w, (part_x - high.to(tl.float32)).to(tl.bfloat16), total)
            return tl.dot(part_w, high, total)
        else:
            return tl.dot(part_w, part_x, total, input_precision="ieee")
    else:
        PER: tl.constexpr = 8 // BITS
        at = tl.arange(0, BLOCK // PER)
        place = (row * blocks + k // BLOCK).to(tl.int64)
        packed = tl.load(weight + place[:, None] * (BLOCK // PER) + at[None, :], mask=inside[:, None], other=0)
        factor = tl.load(scale + place, mask=inside, other=0).to(tl.float32)
        column = k + tl.arange(0, BLOCK)
        there = used[:, None]
        if not EVEN:
            there = there & (column < K)[None, :]
        part_x = tl.load(x + stored[:, None] + column[None, :], mask=there, other=0)
        if BITS == 8:
            part = tl.dot((packed.to(tl.float32) - 128.0).to(part_x.dtype), tl.trans(part_x), input_precision="ieee")
        else:  # the low half of a byte is an even column, the high half the odd one behind it
            TILE: tl.constexpr = part_x.shape[0]
            even, odd = tl.split(tl.reshape(part_x, (TILE, BLOCK // 2, 2)))
            low, high = halves_of_codes(packed.to(tl.int8, bitcast=True), part_x, TILE)
            part = tl.dot(low, tl.trans(even), input_precision="ieee")
            part = tl.dot(high, tl.trans(odd), part, input_precision="ieee")
        return total + part * factor[:, None]


@triton.jit
def product_rows(  # noqa: PLR0913 - a Triton kernel
    x, w0, w1, w2, s0, s1, s2, gate, row_token, tile_expert, y, N0, N1, N2, K, ROWS, GATE_ROW, GATE_AT,
    TILES, ACTIVATION: tl.constexpr, CAP: tl.constexpr, BITS: tl.constexpr, BLOCK: tl.constexpr, GROUPED: tl.constexpr,
    GATHERED: tl.constexpr, STACKED: tl.constexpr, TILE: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
    BAND: tl.constexpr, PARTS: tl.constexpr, EVEN: tl.constexpr, DEPENDENT: tl.constexpr,
):  # fmt: skip
    """Grid: (tiles of N0, N1 and N2, tiles of rows, PARTS of K). Parts are float32 [PARTS, rows, N], which `sum_parts`
    adds. Programs of ``BAND`` tiles of rows by all of N follow each other,
    so that what they share stays in the cache. ``GATHERED``: rows of x are looked up by `row_token`.
    ``STACKED``: the up matrix stands behind the gate matrix."""
    begin(DEPENDENT)
    wait(DEPENDENT)
    across, along = tl.num_programs(0), tl.num_programs(1)
    number = tl.program_id(1) * across + tl.program_id(0)
    band = number // (BAND * across)
    tall = tl.minimum(along - band * BAND, BAND)
    rest = number - band * BAND * across
    tile, column = band * BAND + rest % tall, rest // tall
    weight, scale, base, size = w0, s0, 0, N0
    tiles0, tiles1 = tl.cdiv(N0, BLOCK_N), tl.cdiv(N1, BLOCK_N)
    local = column
    if ACTIVATION != GEGLU:
        if column >= tiles0 + tiles1:
            weight, scale, base, size, local = w2, s2, N0 + N1, N2, column - tiles0 - tiles1
        elif column >= tiles0:
            weight, scale, base, size, local = w1, s1, N0, N1, column - tiles0
    row = local * BLOCK_N + tl.arange(0, BLOCK_N)
    inside = row < size
    slot = tile * TILE + tl.arange(0, TILE)
    used = slot < ROWS
    source, stored_row = slot, row
    second, other_weight, other_scale = row, w1, s1
    if STACKED:
        second, other_weight = row + N0, w0
    if GROUPED:
        expert = tl.load(tile_expert + tile)
        if expert < 0:
            return
        stored_row = row + expert * (2 * N0 if ACTIVATION == GEGLU else N0)
        second, other_weight, other_scale = stored_row + N0, w0, s0
        token = tl.load(row_token + slot)
        used = token >= 0
        if GATHERED:
            source = token
    stored = source.to(tl.int64) * K
    blocks = tl.cdiv(K, BLOCK)
    total = tl.zeros((BLOCK_N, TILE), tl.float32)
    other = tl.zeros((BLOCK_N, TILE), tl.float32)
    share = tl.cdiv(tl.cdiv(K, BLOCK_K), PARTS) * BLOCK_K
    part = tl.program_id(2)
    for k in range(part * share, tl.minimum(part * share + share, K), BLOCK_K):
        total = _accumulate(
            total, x, weight, scale, stored_row, inside, stored, used, k, K, blocks, BITS, BLOCK, BLOCK_K, EVEN
        )
        if ACTIVATION == GEGLU:
            other = _accumulate(
                other, x, other_weight, other_scale, second, inside, stored, used, k, K, blocks, BITS, BLOCK, BLOCK_K,
                EVEN,
            )  # fmt: skip
    beside = total
    if ACTIVATION == GATE:
        place = slot.to(tl.int64)[None, :] * GATE_ROW + GATE_AT + row[:, None]
        beside = tl.load(gate + place, mask=inside[:, None] & used[None, :], other=0).to(tl.float32)
    result = _finish(total, other, beside, CAP, ACTIVATION)
    wide = N0 + N1 + N2
    if ACTIVATION == GEGLU:
        wide = N0
    out = y + (part.to(tl.int64) * ROWS + slot)[:, None] * wide + base + row[None, :]
    tl.store(out, tl.trans(result.to(y.dtype.element_ty)), mask=used[:, None] & inside[None, :])


@triton.jit
def sum_parts(parts, y, COLUMNS, ROWS, PARTS: tl.constexpr, BLOCK: tl.constexpr, DEPENDENT: tl.constexpr):
    """y [rows, N] of float32 [PARTS, rows, N]. Grid: (rows, N / BLOCK)."""
    begin(DEPENDENT)
    wait(DEPENDENT)
    at = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = at < COLUMNS
    place = tl.program_id(0).to(tl.int64) * COLUMNS + at
    total = tl.zeros((BLOCK,), tl.float32)
    for part in tl.static_range(PARTS):
        total += tl.load(parts + tl.cast(ROWS, tl.int64) * COLUMNS * part + place, mask=inside, other=0)
    tl.store(y + place, total.to(y.dtype.element_ty), mask=inside)
