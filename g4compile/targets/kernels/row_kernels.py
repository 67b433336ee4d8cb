"""The kernels of norms, lookups, routing and attention by what is fixed when they are compiled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from g4compile.bundle.manifest import TOP_TOKENS
from g4compile.targets.kernels.kernel import Grid, Kernel, Way, all_aligned, types
from g4compile.targets.kernels.product_kernels import Stream

PIECES = 256  # programs that look for the likeliest token of a sequence
TOP_PIECE = 4096  # tokens of which one program finds the likeliest


def _power(size: int) -> int:
    return 1 << max(size - 1, 0).bit_length()


def _kernel(
    module: str, function: str, word: str, kinds: tuple[tuple[str, str], ...], unaligned: str,
    constants: Mapping[str, int | float], grid: Grid, *ways: tuple[dict[str, int], int, int],
) -> Kernel:  # fmt: skip
    """``ways``: constants, warps and stages of each."""
    made = tuple(Way(tuple(own.items()), grid, warps, stages) for own, warps, stages in ways)
    name = f"{function}.{word}" if word else function
    aligned = all_aligned(dict(kinds), *unaligned.split())
    return Kernel(name, module, function, kinds, aligned, tuple(constants.items()), made)


def stream_rows(size: int, stream: Stream, epsilon: float, wide: bool = False) -> Kernel:
    """``wide``: x is float32."""
    kinds = types(
        h="*fp32", p="*bf16", post="*bf16", scalar="*bf16", pre="*bf16", v="*fp32", x="*fp32" if wide else "*bf16",
        SIZE="i32", ROWS="i32",
    )  # fmt: skip
    constants = {
        "BLOCK": _power(size), "ADDS": int(stream.adds), "SCALED": int(stream.scaled), "NORMED": int(stream.normed),
        "FACTOR": stream.factor, "EPSILON": epsilon,
    }  # fmt: skip
    word = f"{stream.word}.{_power(size)}{'.wide' if wide else ''}{'' if size % 16 == 0 else '.uneven'}"
    unaligned = "ROWS" if size % 16 == 0 else "ROWS SIZE"
    return _kernel("norms", "stream_rows", word, kinds, unaligned, constants, ("a1", "1", "1"), ({}, 4, 1))


def per_layer_inputs(width: int, projection: float, scale: float, epsilon: float) -> Kernel:
    kinds = types(projected="*bf16", rows="*bf16", weight="*bf16", out="*bf16", LAYERS="i32", ROWS="i32")
    constants = {"WIDTH": width, "PROJECTION": projection, "SCALE": scale, "EPSILON": epsilon}
    word = f"{width}.{projection:g}"
    return _kernel("norms", "per_layer_inputs", word, kinds, "LAYERS ROWS", constants, ("a1", "a0", "1"), ({}, 1, 1))


def expert_sum(size: int, choices: int, epsilon: float) -> Kernel:
    kinds = types(
        dense="*bf16", dense_norm="*bf16", out="*bf16", slot_of="*i32", weights="*fp32", expert_norm="*bf16", d="*bf16",
        SIZE="i32", ROWS="i32",
    )  # fmt: skip
    constants = {"BLOCK": _power(size), "CHOICES": choices, "EPSILON": epsilon}
    even = size % 16 == 0
    word = f"{_power(size)}.top{choices}{'' if even else '.uneven'}"
    unaligned = "ROWS slot_of weights" + ("" if even else " SIZE")
    return _kernel("norms", "expert_sum", word, kinds, unaligned, constants, ("a1", "1", "1"), ({}, 4, 1))


@dataclass(frozen=True)
class Table:
    """A table of rows: numbers, or codes of ``bits`` in blocks; ids in ``holes`` read another row."""

    width: int
    scale: float
    bits: int
    block: int
    holes: tuple[int, ...]


def embed_rows(table: Table, wide: bool) -> Kernel:
    coded = table.bits != 16
    kinds = types(
        ids="*i64", table="*u8" if coded else "*bf16", scales="*bf16", out="*fp32" if wide else "*bf16", WIDTH="i32",
        VOCABULARY="i32", PAD="i32", ROWS="i32",
    )  # fmt: skip
    first, second, third = (*table.holes, -1, -1, -1)[:3]
    piece = min(_power(table.width), 1024)
    constants = {
        "SCALE": table.scale, "BITS": table.bits, "BLOCK": table.block or 1, "PIECE": piece,
        "HOLES": len(table.holes), "HOLE0": first, "HOLE1": second, "HOLE2": third,
    }  # fmt: skip
    even = table.width % 16 == 0
    word = f"{table.scale:g}.int{table.bits}x{table.block}.{piece}.{'.'.join(map(str, table.holes))}"
    word += f"{'.wide' if wide else ''}{'' if even else '.uneven'}"
    unaligned = "ids VOCABULARY PAD ROWS" + ("" if even else " WIDTH")
    return _kernel("lookups", "embed_rows", word, kinds, unaligned, constants, ("a3", f"a0/{piece}", "1"), ({}, 4, 1))


def rotary_angles(half: int) -> Kernel:
    kinds = types(positions="*i64", inv_freq="*fp32", angles="*fp32", HALF="i32", ROWS="i32")
    constants = {"BLOCK": _power(half)}
    unaligned = "positions HALF ROWS"
    return _kernel(
        "lookups", "rotary_angles", str(_power(half)), kinds, unaligned, constants, ("a1", "1", "1"), ({}, 1, 1)
    )


def largest_logits() -> Kernel:
    kinds = types(logits="*fp32", partial="*fp32", VOCABULARY="i32", KEPT="i32", BATCH="i32", PIECE="i32")
    grid = (f"{PIECES}", "a2", "1")
    return _kernel(
        "lookups", "largest_logits", "", kinds, "VOCABULARY KEPT BATCH PIECE", {"BLOCK": 1024}, grid, ({}, 4, 1)
    )


def likeliest() -> Kernel:
    kinds = types(partial="*fp32", token="*i64", PIECES="i32", BATCH="i32")
    constants = {"BLOCK": PIECES}
    return _kernel("lookups", "likeliest", "", kinds, "token PIECES BATCH", constants, ("a1", "1", "1"), ({}, 4, 1))


def top_of_pieces() -> Kernel:
    kinds = types(logits="*fp32", keys="*i64", VOCABULARY="i32", KEPT="i32", BATCH="i32")
    constants, unaligned = {"PIECE": TOP_PIECE, "TOP": TOP_TOKENS}, "logits VOCABULARY KEPT BATCH"
    grid = (f"a0/{TOP_PIECE}", "a2", "1")
    return _kernel("top_tokens", "top_of_pieces", "", kinds, unaligned, constants, grid, ({}, 16, 1))


def top_of_all(pieces: int) -> Kernel:
    kinds = types(keys="*i64", top_logits="*fp32", top_tokens="*i64", COUNT="i32", BATCH="i32")
    constants = {"BLOCK": _power(pieces) * TOP_TOKENS, "TOP": TOP_TOKENS}
    word, grid = str(constants["BLOCK"]), ("a1", "1", "1")
    return _kernel("top_tokens", "top_of_all", word, kinds, "COUNT BATCH", constants, grid, ({}, 16, 1))


def choose_experts(experts: int, choices: int, single: bool) -> Kernel:
    kinds = types(
        logits="*fp32", expert_scale="*bf16", weights="*fp32", index="*i32", slot_of="*i32", row_token="*i32",
        tile_expert="*i32", ROWS="i32",
    )  # fmt: skip
    constants = {"EXPERTS": experts, "BLOCK": _power(experts), "CHOICES": choices, "SINGLE": int(single)}
    word = f"{experts}.top{choices}{'.single' if single else ''}"
    return _kernel("routing", "choose_experts", word, kinds, "ROWS", constants, ("a0", "1", "1"), ({}, 1, 1))


def count_experts() -> Kernel:
    kinds = types(index="*i32", counts="*i32", ASSIGNMENTS="i32", EXPERTS="i32")
    constants = {"BLOCK": 1024}
    return _kernel(
        "routing", "count_experts", "", kinds, "ASSIGNMENTS EXPERTS", constants, ("a1", "1", "1"), ({}, 4, 1)
    )


def place_rows(experts: int, choices: int, tile: int) -> Kernel:
    kinds = types(
        index="*i32", counts="*i32", slot_of="*i32", row_token="*i32", tile_expert="*i32", ASSIGNMENTS="i32",
        EXPERTS="i32", TILES="i32",
    )  # fmt: skip
    constants = {"CHOICES": choices, "TILE": tile, "EXPERT_BLOCK": _power(experts), "BLOCK": 1024}
    word = f"{experts}.top{choices}.t{tile}"
    unaligned = "ASSIGNMENTS EXPERTS TILES"
    return _kernel("routing", "place_rows", word, kinds, unaligned, constants, ("a1", "1", "1"), ({}, 4, 1))
