"""How to draw inputs for each op: sizes are small, and S = 1, W-1, W, W+1 are always among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

Array = np.ndarray[Any, Any]
Case = tuple[list[Array], dict[str, Any]]
EPSILON = {"epsilon": 1e-6}


def _random(draw: Any) -> Callable[..., Array]:
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return lambda *shape: generator.standard_normal(shape).astype(np.float32)


def _sizes(draw: Any, window: int = 4) -> tuple[int, int, int]:
    """Batch, new tokens, past tokens."""
    new = draw(st.sampled_from([1, window - 1, window, window + 1, 2 * window + 3]))
    return draw(st.integers(1, 3)), new, draw(st.sampled_from([0, 1, window - 1, window, 3 * window]))


def _heads(draw: Any) -> tuple[int, int, int]:
    """Query heads, KV heads, head dim."""
    kv = draw(st.integers(1, 2))
    return kv * draw(st.integers(1, 4)), kv, draw(st.sampled_from([4, 8, 16]))


def _angles(draw: Any, batch: int, new: int, width: int) -> list[Array]:
    """cos and sin of positions, for a whole head or half of it; the p-RoPE form leaves the last three quarters
    unrotated."""
    width = draw(st.sampled_from([width, width // 2]))
    start = draw(st.integers(0, 5000))
    frequency = 1e4 ** (-np.arange(width // 2) / (width // 2))
    if draw(st.booleans()):
        frequency[max(1, width // 8) :] = 0
    angle = (np.arange(start, start + new)[None, :, None] * frequency).astype(np.float32).repeat(batch, 0)
    return [np.cos(angle), np.sin(angle)]


@st.composite
def linear(draw: Any) -> Case:
    random = _random(draw)
    batch, new, _ = _sizes(draw)
    width, out = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    return [random(batch, new, width), random(out, width)], {}


@st.composite
def rms_norm(draw: Any) -> Case:
    random = _random(draw)
    batch, new, _ = _sizes(draw)
    width = draw(st.integers(1, 16))
    scale = [random(width)] if draw(st.booleans()) else []
    return [random(batch, new, width) * draw(st.sampled_from([1e-3, 1.0, 100.0])), *scale], EPSILON


@st.composite
def geglu(draw: Any) -> Case:
    random = _random(draw)
    batch, new, _ = _sizes(draw)
    width = draw(st.integers(1, 9))
    return [4 * random(batch, new, width), random(batch, new, width)], {}


@st.composite
def causal_attention(draw: Any) -> Case:
    random = _random(draw)
    window = draw(st.sampled_from([0, 4]))
    (batch, new, past), (heads, kv, width) = _sizes(draw), _heads(draw)
    keys = [random(batch, kv, past + new, width) for _ in range(2)]
    return [random(batch, heads, new, width), *keys], {"scale": 1.0, "window": window}


@st.composite
def cache_update(draw: Any) -> Case:
    random = _random(draw)
    (batch, new, past), (_, kv, width) = _sizes(draw), _heads(draw)
    return [random(batch, kv, new, width), random(batch, kv, past, width)], {}


@st.composite
def rope_key_value(draw: Any) -> Case:
    random = _random(draw)
    (batch, new, _), (_, kv, width) = _sizes(draw), _heads(draw)
    key = random(batch, new, kv * width)
    value = key if draw(st.booleans()) else random(batch, new, kv * width)
    angles = _angles(draw, batch, new, width)
    return [key, value, random(width), *angles], {"kv_heads": kv, "rotary": 2 * angles[0].shape[-1], **EPSILON}


@st.composite
def dual_rope_attention(draw: Any) -> Case:
    random = _random(draw)
    (batch, new, past), (heads, kv, width) = _sizes(draw), _heads(draw)
    window = draw(st.sampled_from([0, 4]))
    operands = [random(batch, new, heads * width), random(width), *_angles(draw, batch, new, width)]
    operands += [random(batch, kv, past + new, width) for _ in range(2)]
    if draw(st.booleans()):
        allowed = random(batch, 1, new, past + new) > 0
        allowed[..., -1] = True  # a row that may look nowhere has no meaning
        operands.append(np.where(allowed, 0, -np.inf).astype(np.float32))
    rotary = 2 * operands[2].shape[-1]
    return operands, {"heads": heads, "scale": 1.0, "window": window, "rotary": rotary, **EPSILON}


def _positions(draw: Any, batch: int, new: int, past: int) -> Array:
    return np.arange(past, past + new)[None].repeat(batch, 0)


@st.composite
def causal_mask(draw: Any) -> Case:
    random = _random(draw)
    (batch, new, past), spare = _sizes(draw), draw(st.integers(0, 5))
    return [_positions(draw, batch, new, past), random(batch, 1, past + new + spare, 2)], {}


@st.composite
def windowed_mask(draw: Any) -> Case:
    random = _random(draw)
    batch, new, past = _sizes(draw)
    held = draw(st.integers(0, past))
    return [_positions(draw, batch, new, past), random(batch, 1, held + new, 2)], {
        "window": draw(st.sampled_from([1, 4]))
    }


@st.composite
def ring_mask(draw: Any) -> Case:
    """A ring that holds the window of the first and all of the new positions."""
    batch, new, past = _sizes(draw)
    window = draw(st.sampled_from([1, 4]))
    slots = window - 1 + new + draw(st.integers(0, 5))
    return [_positions(draw, batch, new, past), _random(draw)(batch, 1, slots, 2)], {"window": window}


@st.composite
def moe_experts(draw: Any) -> Case:
    random = _random(draw)
    batch, new, _ = _sizes(draw)
    experts, width, inner = draw(st.integers(1, 5)), draw(st.integers(1, 6)), draw(st.integers(1, 6))
    top_k = draw(st.integers(1, experts))
    scores = random(batch, new, experts)
    index = np.argsort(-scores, -1)[..., :top_k]
    return [
        random(batch, new, width),
        index,
        np.abs(random(batch, new, top_k)),
        random(experts, 2 * inner, width),
        random(experts, width, inner),
    ], {}


@st.composite
def flash_attention(draw: Any) -> Case:
    random = _random(draw)
    (batch, new, past), (heads, kv, width) = _sizes(draw), _heads(draw)
    spare = draw(st.integers(0, 5))
    keys = [random(batch, kv, past + new + spare, width) for _ in range(2)]
    positions = past + np.arange(new)[None].repeat(batch, 0)
    return [random(batch, new, heads, width), positions, *keys], {}


@st.composite
def all_reduce(draw: Any) -> Case:
    batch, new, _ = _sizes(draw)
    return [_random(draw)(batch, new, 4)], {"ranks": 2}


@st.composite
def dequantize(draw: Any) -> Case:
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    bits, width = draw(st.sampled_from([2, 4, 8])), draw(st.sampled_from([8, 16]))
    leading = (draw(st.integers(1, 3)),) * draw(st.integers(1, 2))
    columns = draw(st.integers(1, 40))
    blocks = -(-columns // width)
    codes = generator.integers(0, 256, (*leading, blocks, width * bits // 8), np.uint8)
    scales = generator.standard_normal((*leading, blocks)).astype(np.float32)
    zeros = [generator.integers(0, 256, (*leading, -(-blocks * bits // 8)), np.uint8)] if draw(st.booleans()) else []
    return [codes, scales, *zeros], {"bits": bits, "columns": columns, "activation_bits": 0}


@st.composite
def round_activations(draw: Any) -> Case:
    """Among the values are halves of a step, which go to even, and ones beyond both ends."""
    random, scale = _random(draw), draw(st.sampled_from([0.0625, 0.05, 0.013]))
    halves = ((np.arange(-140, 140) + 0.5) * np.float32(scale)).astype(np.float32)
    return [np.concatenate([random(20) * 10, halves])[None]], {"scale": float(np.float32(scale))}


@st.composite
def quantize_kv(draw: Any) -> Case:
    """One vector is of zeros, and one has its largest value twice, with both signs."""
    random = _random(draw)
    batch, new, _ = _sizes(draw)
    _, heads, width = _heads(draw)
    x = random(batch, heads, new, width) * draw(st.sampled_from([1e-3, 1.0, 100.0]))
    x[0, 0, 0] = 0
    x[-1, -1, -1, :2] = 5000, -5000
    return [x], {}


@st.composite
def dequantize_kv(draw: Any) -> Case:
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    batch, new, _ = _sizes(draw)
    _, heads, width = _heads(draw)
    codes = generator.integers(-127, 128, (batch, heads, new, width), np.int8)
    return [codes, np.abs(generator.standard_normal((batch, heads, new, 1))).astype(np.float32)], {}


@st.composite
def transposed_mat_mul(draw: Any) -> Case:
    """Leading sizes that broadcast, as experts' do."""
    random = _random(draw)
    rows, out, width = (draw(st.integers(1, 9)) for _ in range(3))
    leading, stacked = draw(st.sampled_from([((2, 1), (3,)), ((), ()), ((2, 3), (2, 3)), ((1, 1), (4,))]))
    return [random(*leading, rows, width), random(*stacked, out, width)], {}


@st.composite
def axial_rope(draw: Any) -> Case:
    random = _random(draw)
    batch, patches, heads = draw(st.integers(1, 2)), draw(st.integers(1, 7)), draw(st.integers(1, 3))
    quarter = draw(st.sampled_from([1, 2, 4]))
    angle = draw(st.sampled_from([1.0, 3000.0])) * random(batch, patches, 2, quarter)
    return [random(batch, patches, heads, 4 * quarter), np.cos(angle), np.sin(angle)], {}


@st.composite
def bidirectional_attention(draw: Any) -> Case:
    random = _random(draw)
    batch, patches, keys = draw(st.integers(1, 2)), draw(st.integers(1, 7)), draw(st.integers(1, 7))
    heads, kv, width = _heads(draw)
    pair = [random(batch, kv, keys, width) for _ in range(2)]
    return [random(batch, heads, patches, width), *pair], {"scale": draw(st.sampled_from([1.0, 0.25]))}


@st.composite
def relative_attention(draw: Any) -> Case:
    random = _random(draw)
    window = draw(st.sampled_from([1, 2, 4]))
    batch, new, _ = _sizes(draw)
    heads, width = draw(st.integers(1, 3)), draw(st.sampled_from([1, 4]))
    operands = [random(batch, new, heads, width) for _ in range(3)]
    softcap = draw(st.sampled_from([0.5, 50.0]))
    return [*operands, random(window + 1, heads, width)], {"window": window, "softcap": softcap}


@st.composite
def block_mask(draw: Any) -> Case:
    window = draw(st.integers(1, 6))
    batch, new, past = _sizes(draw, window=5)
    at = np.tile(np.arange(past, past + new), (batch, 1))
    first, last = sorted(draw(st.tuples(st.integers(0, new - 1), st.integers(0, new - 1))))
    starts, ends = at.copy(), at.copy()
    starts[:, first : last + 1], ends[:, first : last + 1] = past + first, past + last
    if draw(st.booleans()):
        starts = at
    return [at, starts, ends, np.zeros((batch, 1, past + new, 4), np.float32)], {"window": window}


@st.composite
def ring_block_mask(draw: Any) -> Case:
    """A ring that holds the window of the first and all of the new positions."""
    (at, starts, ends, keys), attributes = draw(block_mask())
    slots = attributes["window"] - 1 + at.shape[1] + draw(st.integers(0, 5))
    return [at, starts, ends, np.zeros((len(at), 1, slots, keys.shape[-1]), np.float32)], attributes


CASES = {
    "BlockMask": block_mask(),
    "RingBlockMask": ring_block_mask(),
    "AxialRope": axial_rope(),
    "BidirectionalAttention": bidirectional_attention(),
    "RelativeAttention": relative_attention(),
    "Linear": linear(),
    "RMSNorm": rms_norm(),
    "GeGLU": geglu(),
    "CausalAttention": causal_attention(),
    "CacheUpdate": cache_update(),
    "RopeKeyValue": rope_key_value(),
    "DualRopeAttention": dual_rope_attention(),
    "CausalMask": causal_mask(),
    "WindowedMask": windowed_mask(),
    "RingMask": ring_mask(),
    "MoEExperts": moe_experts(),
    "FlashAttention": flash_attention(),
    "AllReduce": all_reduce(),
    "Dequantize": dequantize(),
    "RoundActivations": round_activations(),
    "QuantizeKV": quantize_kv(),
    "DequantizeKV": dequantize_kv(),
    "TransposedMatMul": transposed_mat_mul(),
}
