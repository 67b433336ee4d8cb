"""The ops of libg4cuda in plain NumPy, and a runner of their graphs: what kernels are compared with.

Every op is a function of arrays and attributes, named as the op. Operands are float32 (or integers, or codes): what is
stored in bfloat16 was widened before. All is computed in float32. ``narrow`` rounds what an op keeps in bfloat16 inside
(the x of a product, queries, keys and values); what it returns is rounded by the runner, to the dtype that the graph
declares. With `exact` nothing is rounded, so that a graph can be compared with Hugging Face in float32.
Source: `docs/design/0010-onnx-cuda.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir

from g4compile.bundle.manifest import TOP_TOKENS as TOP
from g4compile.ops.expert_routing import route, tile_of
from g4compile.ops.geglu import gelu_tanh
from g4compile.weights.formats.blocks import unpack_bits

Array = np.ndarray[Any, Any]
Rounding = Callable[[Array], Array]


def to_bfloat16(x: Array) -> Array:
    """float32 to the nearest bfloat16, as float32."""
    rounded: Array = x.astype(ml_dtypes.bfloat16).astype(np.float32)
    return rounded


def as_it_is(x: Array) -> Array:
    return x


def rms_norm(x: Array, weight: Array | None, epsilon: float) -> Array:
    normed: Array = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + np.float32(epsilon))
    return normed if weight is None else normed * weight


def matrix(stored: Array, scales: Array | None, columns: int, bits: int) -> Array:
    """A weight as float32 [.., N, columns], of numbers or of codes [.., N, blocks, bytes]."""
    if scales is None:
        return stored
    levels = unpack_bits(stored, bits).astype(np.float32) - np.float32(1 << (bits - 1))
    whole = (levels * scales[..., None]).reshape(*scales.shape[:-1], -1)
    return whole[..., :columns]


def EmbedRows(
    ids: Array,
    table: Array,
    scales: Array | None = None,
    *,
    placeholders: Sequence[int],
    pad: int,
    scale: float,
    width: int,
    bits: int,
    block: int,
    narrow: Rounding,
) -> Array:
    known = np.where(np.isin(ids, placeholders), pad, ids)
    rows = matrix(table[known], None if scales is None else scales[known], width, bits)
    return rows * np.float32(scale)


def RotaryAngles(positions: Array, inv_freq: Array, *, narrow: Rounding) -> Array:
    angles = positions[..., None].astype(np.float32) * inv_freq
    return np.stack([np.cos(angles), np.sin(angles)], axis=-2)


def PerLayerInputs(
    projected: Array,
    rows: Array,
    weight: Array,
    *,
    projection_scale: float,
    scale: float,
    epsilon: float,
    narrow: Rounding,
) -> Array:
    by_layer = (*rows.shape[:-1], -1, len(weight))
    normed = rms_norm(projected.reshape(by_layer) * np.float32(projection_scale), weight, epsilon)
    return (normed + rows.reshape(by_layer)) * np.float32(scale)


def products(x: Array, weights: Sequence[Array | None], bits: int) -> list[Array]:
    """x times each of w0, w1, w2 with the scales s0, s1, s2; absent ones are left out."""
    given = [*weights, *[None] * (6 - len(weights))]
    pairs = [(w, s) for w, s in zip(given[:3], given[3:6], strict=True) if w is not None]
    return [x @ matrix(w, s, x.shape[-1], bits).T for w, s in pairs]


def Product(x: Array, *weights: Array | None, bits: int, block: int, narrow: Rounding) -> Array:
    return np.concatenate(products(x, weights, bits), -1)


def NormProduct(
    h: Array,
    p: Array | None,
    post: Array | None,
    scalar: Array | None,
    pre: Array | None,
    *operands: Array | None,
    activation: str,
    epsilon: float,
    bits: int,
    block: int,
    narrow: Rounding,
    layer: int = 0,
    cap: float = 0,
) -> tuple[Array, Array, Array]:
    v = h if p is None else h + rms_norm(p, post, epsilon)
    v = v if scalar is None else v * scalar
    x = narrow(v if pre is None else rms_norm(v, pre, epsilon))
    found = products(x, operands[:6], bits)
    if activation == "geglu":
        y = gelu_tanh(found[0]) * found[1]
    elif activation == "gate":
        y = gelu_tanh(found[0]) * operands[6][..., layer, :]
    elif activation == "softcap":
        y = np.float32(cap) * np.tanh(found[0] / np.float32(cap))
    else:
        y = np.concatenate(found, -1)
    return y, v, x


def rotated(x: Array, angles: Array) -> Array:
    """Heads x [B, S, heads, D], whose dimensions [0, R/2) and [D/2, D/2 + R/2) are rotated by angles [B, S, 2, R/2]."""
    cos, sin = angles[:, :, 0, None], angles[:, :, 1, None]
    some, half, out = cos.shape[-1], x.shape[-1] // 2, x.copy()
    low, high = x[..., :some], x[..., half : half + some]
    out[..., :some], out[..., half : half + some] = low * cos - high * sin, high * cos + low * sin
    return out


def CachedAttention(
    qkv: Array,
    positions: Array,
    angles: Array,
    q_norm: Array,
    k_norm: Array | None,
    key_cache: Array,
    value_cache: Array,
    *,
    heads: int,
    kv_heads: int,
    head_dim: int,
    window: int,
    writes: int,
    key_is_value: int,
    epsilon: float,
    narrow: Rounding,
) -> Array:
    """Caches [B, kv_heads, slots, D] are changed in place; a row of position -1 writes nothing, and is zeros."""
    batch, new, _ = qkv.shape
    by_head = qkv.reshape(batch, new, -1, head_dim)
    query = narrow(rotated(rms_norm(by_head[:, :, :heads], q_norm, epsilon), angles))
    if writes:
        key = by_head[:, :, heads : heads + kv_heads]
        value = key if key_is_value else by_head[:, :, heads + kv_heads :]
        key, value = rotated(rms_norm(key, k_norm, epsilon), angles), rms_norm(value, None, epsilon)
        for row, column in zip(*np.nonzero(positions >= 0), strict=True):
            slot = positions[row, column] % key_cache.shape[2]
            key_cache[row, :, slot] = narrow(key[row, column])
            value_cache[row, :, slot] = narrow(value[row, column])
    out = np.zeros((batch, new, heads * head_dim), np.float32)
    for row in range(batch):
        used = np.nonzero(positions[row] >= 0)[0]
        if len(used):
            caches = key_cache[row], value_cache[row]
            out[row, used] = attend(query[row, used], positions[row, used], *caches, window).reshape(len(used), -1)
    return out


def attend(query: Array, positions: Array, keys: Array, values: Array, window: int) -> Array:
    """Queries [S, heads, D] at ``positions`` of one sequence over the slots [kv_heads, slots, D]: [S, heads, D]."""
    first = max(0, int(positions.min()) - window + 1) if window else 0
    seen = np.arange(first, int(positions.max()) + 1)
    repeats, slots = query.shape[1] // len(keys), seen % keys.shape[1]
    keys, values = (np.repeat(one[:, slots].astype(np.float32), repeats, axis=0) for one in (keys, values))
    scores = np.einsum("shd,htd->sht", query, keys)
    visible = seen <= positions[:, None]
    if window:
        visible &= seen > positions[:, None] - window
    scores = np.where(visible[:, None], scores, -np.inf)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    attended: Array = np.einsum("sht,htd->shd", shares / shares.sum(-1, keepdims=True), values)
    return attended


def Router(
    v: Array,
    scale: Array,
    proj: Array,
    expert_scale: Array,
    pre: Array,
    *,
    factor: float,
    k: int,
    epsilon: float,
    narrow: Rounding,
) -> tuple[Array, ...]:
    rows = v.reshape(-1, v.shape[-1])
    logits = (rms_norm(rows, scale, epsilon) * np.float32(factor)) @ proj.T
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    shares = shares / shares.sum(-1, keepdims=True)
    chosen = np.argsort(-shares, axis=-1, kind="stable")[:, :k]  # of equal ones the lowest expert
    kept = np.take_along_axis(shares, chosen, -1)
    weights = kept / kept.sum(-1, keepdims=True) * expert_scale[chosen]
    row_token, tile_expert, slot_of = route(chosen, len(proj), tile_of(len(rows)))
    return rms_norm(v, pre, epsilon), weights, slot_of, row_token, tile_expert


def by_expert(rows: Array, row_token: Array, tile_expert: Array, weights: Array) -> Array:
    """Each row of a slot times the matrix of its expert; zeros where no row is."""
    tile = len(row_token) // len(tile_expert)
    expert = np.repeat(tile_expert, tile)
    out = np.zeros((len(row_token), weights.shape[1]), np.float32)
    for one in np.unique(expert[(expert >= 0) & (row_token >= 0)]):
        slots = np.nonzero((expert == one) & (row_token >= 0))[0]
        out[slots] = rows[slots] @ weights[one].T
    return out


def RoutedGateUp(
    x: Array,
    row_token: Array,
    tile_expert: Array,
    gate_up: Array,
    scales: Array | None = None,
    *,
    bits: int,
    block: int,
    narrow: Rounding,
) -> Array:
    rows = x.reshape(-1, x.shape[-1])[np.maximum(row_token, 0)]
    both = by_expert(rows, row_token, tile_expert, matrix(gate_up, scales, x.shape[-1], bits))
    gate, up = np.split(both, 2, axis=-1)
    return gelu_tanh(gate) * up


def RoutedDown(
    hidden: Array,
    row_token: Array,
    tile_expert: Array,
    down: Array,
    scales: Array | None = None,
    *,
    bits: int,
    block: int,
    narrow: Rounding,
) -> Array:
    return by_expert(hidden, row_token, tile_expert, matrix(down, scales, hidden.shape[-1], bits))


def ExpertSum(
    dense: Array,
    dense_norm: Array,
    out: Array,
    slot_of: Array,
    weights: Array,
    expert_norm: Array,
    *,
    epsilon: float,
    narrow: Rounding,
) -> Array:
    routed = (out[slot_of] * weights[..., None]).sum(1).reshape(dense.shape)
    return rms_norm(dense, dense_norm, epsilon) + rms_norm(routed, expert_norm, epsilon)


def NextToken(logits: Array, *, narrow: Rounding) -> Array:
    return logits[:, -1:].argmax(-1)


def TopTokens(logits: Array, *, narrow: Rounding) -> tuple[Array, Array]:
    """No logit may be no number. Minus infinity and -1 stand behind the last token."""
    last = logits[:, -1]
    token = np.broadcast_to(np.arange(last.shape[1]), last.shape)
    order = np.lexsort((token, -last), axis=-1)[:, :TOP]
    missing = ((0, 0), (0, TOP - order.shape[1]))
    greatest = np.pad(np.take_along_axis(last, order, -1), missing, constant_values=-np.inf)
    return greatest, np.pad(order, missing, constant_values=-1)


def GatherND(value: Array, index: Array, *, batch_dims: int, narrow: Rounding) -> Array:
    return np.stack([one[at[:, 0]] for one, at in zip(value, index, strict=True)])


PLAN = ("launches", "sizes")  # attributes that say how kernels compute, and not what
Op = Callable[..., Array | tuple[Array, ...]]
_NAMED: tuple[Op, ...] = (
    *(EmbedRows, RotaryAngles, PerLayerInputs, NormProduct, Product, CachedAttention),
    *(Router, RoutedGateUp, RoutedDown, ExpertSum, NextToken, TopTokens, GatherND),
)
OPS: dict[str, Op] = {one.__name__: one for one in _NAMED}
OPS |= {"EmbedRowsNarrow": EmbedRows, "NormLogits": NormProduct}  # the same, in another dtype


class Graph:
    """A graph of these ops, its weights bound. ``exact``: no result is rounded."""

    def __init__(self, model: ir.Model, exact: bool = False) -> None:
        self.model, self.exact = model, exact
        self.weights = {value: as_array(value) for value in model.graph.initializers.values()}

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name. ``feeds``: inputs by name; caches, float32, are changed in place."""
        values: dict[ir.Value | None, Array | None] = {None: None, **self.weights}
        values.update({value: feeds[str(value.name)] for value in self.model.graph.inputs})
        narrow = as_it_is if self.exact else to_bfloat16
        for node in self.model.graph:
            attributes = {name: one.value for name, one in node.attributes.items() if name not in PLAN}
            made = OPS[node.op_type](*(values[value] for value in node.inputs), **attributes, narrow=narrow)
            results = made if isinstance(made, tuple) else (made,)
            for value, array in zip(node.outputs, results, strict=False):  # a sum of the stream may have no name
                values[value] = narrow(array) if value.dtype == ir.DataType.BFLOAT16 else array
        return {str(value.name): values[value] for value in self.model.graph.outputs}


def as_array(value: ir.Value) -> Array:
    array: Array = value.const_value.numpy()
    return array.astype(np.float32) if value.dtype == ir.DataType.BFLOAT16 else array
