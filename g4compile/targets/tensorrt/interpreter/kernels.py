"""What the kernels that plugin layers launch compute, in NumPy, by the names of their arguments and constants.

A rule takes ``a``, the arguments (arrays, integers, None where one is absent), and ``c``, the constants, and gives what
is written, float32 where it is no integer. Codes are bytes, whatever dtype they are handed over in. Source:
`targets/kernels`, whose kernels tests compare with this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from g4compile.ops.geglu import gelu_tanh
from g4compile.ops.rms_norm import reference as rms_norm
from g4compile.weights.formats.blocks import unpack_bits

Array = np.ndarray[Any, Any]
Named = Mapping[str, Any]
_WHOLE = 16  # bits of a weight that is no code
_GEGLU, _GATE, _SOFTCAP = 1, 2, 3


def _matrix(weight: Array, scale: Array | None, columns: int, c: Named) -> Array:
    """[rows, columns] of a weight, or of those of all experts one below the other."""
    if c["BITS"] == _WHOLE:
        return weight.reshape(-1, columns)
    assert scale is not None
    blocks = -(-columns // c["BLOCK"])
    codes = unpack_bits(
        np.ascontiguousarray(weight).view(np.uint8).reshape(-1, blocks, c["BLOCK"] * c["BITS"] // 8), c["BITS"]
    )
    levels = codes.astype(np.float32) - np.float32(1 << (c["BITS"] - 1))
    made: Array = (levels * scale.reshape(-1, blocks, 1)).reshape(-1, blocks * c["BLOCK"])[:, :columns]
    return made


def _stream(a: Named, c: Named, columns: int) -> tuple[Array, Array]:
    """The rows v and x of the residual stream."""
    v = a["h"].reshape(-1, columns)
    if c["ADDS"]:
        v = v + rms_norm(a["p"].reshape(-1, columns), a["post"], epsilon=c["EPSILON"])
    if c["SCALED"]:
        v = v * a["scalar"]
    x = rms_norm(v, a["pre"], epsilon=c["EPSILON"]) * np.float32(c["FACTOR"]) if c["NORMED"] else v
    return v, x


def _active(products: list[Array], c: Named, gate: Array | None = None) -> Array:
    if c["ACTIVATION"] == _GEGLU:
        return gelu_tanh(products[0]) * products[1]
    if c["ACTIVATION"] == _GATE:
        return gelu_tanh(products[0]) * gate
    if c["ACTIVATION"] == _SOFTCAP:
        return np.float32(c["CAP"]) * np.tanh(products[0] / np.float32(c["CAP"]))
    return np.concatenate(products, -1)


def _dense(a: Named, c: Named, x: Array, gate: Array | None) -> Array:
    sizes = [a["N0"], a["N0"]] if c["ACTIVATION"] == _GEGLU else [a[name] for name in ("N0", "N1", "N2") if a[name]]
    weights = [_matrix(a[f"w{place}"], a[f"s{place}"], a["K"], c) for place in range(len(sizes))]
    return _active([x @ weight.T for weight in weights], c, gate)


def _grouped(a: Named, c: Named, x: Array, token: Array, expert: Array) -> Array:
    """Rows ``token`` of ``x``, -1 for none, each by the matrix of its ``expert``."""
    rows = a["N0"] * (2 if c["ACTIVATION"] == _GEGLU else 1)
    weights = _matrix(a["w0"], a["s0"], a["K"], c).reshape(-1, rows, a["K"])
    out = np.zeros((len(token), a["N0"]), np.float32)
    for one in np.unique(expert[(expert >= 0) & (token >= 0)]):
        slots = np.nonzero((expert == one) & (token >= 0))[0]
        product = x[token[slots]] @ weights[one].T
        out[slots] = _active(np.split(product, 2, -1) if c["ACTIVATION"] == _GEGLU else [product], c)
    return out


def _gate_of(a: Named, c: Named, rows: int, per_row: int) -> Array | None:
    if c["ACTIVATION"] != _GATE:
        return None
    gate: Array = a["gate"].reshape(rows, per_row)[:, a["GATE_AT"] : a["GATE_AT"] + a["N0"]]
    return gate


def product_one(a: Named, c: Named) -> dict[str, Array]:
    if c["GROUPED"]:
        x, tiles = a["h"].reshape(-1, a["K"]), a["TILES"]
        token = np.arange(tiles) if c["ROW_OF_TILE"] else np.zeros(tiles, np.int64)
        return {"y": _grouped(a, c, x, token, a["tile_expert"])}
    v, x = _stream(a, c, a["K"])
    gate = _gate_of(a, c, 1, a["gate"].size) if a["gate"] is not None else None
    return {"y": _dense(a, c, x, gate), "v": v}


def product_rows(a: Named, c: Named) -> dict[str, Array]:
    x = a["x"].reshape(-1, a["K"])
    if c["GROUPED"]:
        row_token = a["row_token"].reshape(-1)
        token = row_token if c["GATHERED"] else np.where(row_token < 0, -1, np.arange(len(row_token)))
        return {"y": _grouped(a, c, x, token, np.repeat(a["tile_expert"], c["TILE"]))}
    y = _dense(a, c, x, _gate_of(a, c, a["ROWS"], a["GATE_ROW"]))
    return {"y": np.stack([y, *[np.zeros_like(y)] * (c["PARTS"] - 1)])}  # parts, whose sum it is


def sum_parts(a: Named, c: Named) -> dict[str, Array]:
    return {"y": a["parts"].reshape(c["PARTS"], -1).sum(0)}


def stream_rows(a: Named, c: Named) -> dict[str, Array]:
    v, x = _stream(a, c, a["SIZE"])
    return {"v": v, "x": x}


def choose_experts(a: Named, c: Named) -> dict[str, Array]:
    logits = a["logits"].reshape(-1, c["EXPERTS"])
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    index = np.argsort(-shares, axis=-1, kind="stable")[:, : c["CHOICES"]]  # of equal ones the lowest expert
    kept = np.take_along_axis(shares, index, -1)
    made = {"weights": kept / kept.sum(-1, keepdims=True) * a["expert_scale"][index], "index": index}
    if c["SINGLE"]:
        made |= {"slot_of": np.arange(c["CHOICES"]), "row_token": np.zeros(c["CHOICES"]), "tile_expert": index[0]}
    return made


def count_experts(a: Named, c: Named) -> dict[str, Array]:
    return {"counts": np.bincount(a["index"].reshape(-1), minlength=a["EXPERTS"])}


def place_rows(a: Named, c: Named) -> dict[str, Array]:
    index, tile = a["index"].reshape(-1), c["TILE"]
    used = -(-a["counts"] // tile)
    first = np.cumsum(used) - used
    slot_of = np.zeros(a["ASSIGNMENTS"], np.int64)
    row_token, tile_expert = np.full(a["TILES"] * tile, -1), np.full(a["TILES"], -1)
    for expert in np.unique(index):
        chosen = np.nonzero(index == expert)[0]
        slot_of[chosen] = first[expert] * tile + np.arange(len(chosen))
        row_token[slot_of[chosen]] = chosen // c["CHOICES"]
        tile_expert[first[expert] : first[expert] + used[expert]] = expert
    return {"slot_of": slot_of, "row_token": row_token, "tile_expert": tile_expert}


def expert_sum(a: Named, c: Named) -> dict[str, Array]:
    size, slots = a["SIZE"], a["slot_of"].reshape(-1, c["CHOICES"])
    chosen = a["out"].reshape(-1, size)[slots] * a["weights"].reshape(*slots.shape, 1)
    both = [(a["dense"].reshape(-1, size), a["dense_norm"]), (chosen.sum(1), a["expert_norm"])]
    dense, experts = (rms_norm(rows, weight, epsilon=c["EPSILON"]) for rows, weight in both)
    return {"d": dense + experts}


def attend_tokens(a: Named, c: Named) -> dict[str, Array]:
    """Over linear caches and rings: the key of position p stands in slot p modulo SLOTS."""
    position, repeats = a["positions"], c["HEADS"] // c["KV_HEADS"]
    seen = np.arange(int(position.max()) + 1)
    keys, values = (np.repeat(a[name][:, :, seen % a["SLOTS"]], repeats, 1) for name in ("keys", "values"))
    query = a["query"].reshape(*position.shape, c["HEADS"], c["WIDTH"])
    scores = np.einsum("bshd,bhtd->bsht", query, keys)
    visible = seen <= position[..., None]
    if c["WINDOW"]:
        visible &= seen > position[..., None] - c["WINDOW"]
    scores = np.where(visible[:, :, None], scores, np.float32(-1e30))
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    out = np.einsum("bsht,bhtd->bshd", shares / shares.sum(-1, keepdims=True), values)
    return {"out": np.where((position >= 0)[..., None, None], out, np.float32(0))}


_RULES = (
    *(attend_tokens, choose_experts, count_experts, expert_sum, place_rows),
    *(product_one, product_rows, stream_rows, sum_parts),
)
KERNELS: Mapping[str, Callable[[Named, Named], dict[str, Array]]] = {one.__name__: one for one in _RULES}
