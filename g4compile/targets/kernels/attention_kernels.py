"""The kernels of attention over a cache by what is fixed when they are compiled."""

from __future__ import annotations

from dataclasses import dataclass

from g4compile.targets.kernels.kernel import Kernel, Way, all_aligned, types

_LEAST_ROWS = 16  # of a matrix unit


@dataclass(frozen=True)
class Heads:
    """An attention: ``heads`` over ``kv_heads`` of ``width`` numbers; ``window``, 0 for all; whether it ``writes`` keys
    and values, and whether a value is its key before the norm."""

    heads: int
    kv_heads: int
    width: int
    window: int
    writes: bool
    key_is_value: bool
    epsilon: float

    @property
    def word(self) -> str:
        writes = (".kv" if self.key_is_value else ".k.v") if self.writes else ""
        return f"{self.heads}over{self.kv_heads}x{self.width}.w{self.window}{writes}"

    @property
    def fixed(self) -> tuple[tuple[str, int], ...]:
        return ("HEADS", self.heads), ("KV_HEADS", self.kv_heads), ("WIDTH", self.width), ("WINDOW", self.window)

    @property
    def writing(self) -> tuple[tuple[str, int | float], ...]:
        return ("WRITES", int(self.writes)), ("KEY_IS_VALUE", int(self.key_is_value)), ("EPSILON", self.epsilon)


@dataclass(frozen=True)
class Split:
    """How keys are split: most programs of a KV head, and the least keys of one."""

    programs: int
    least: int

    @property
    def word(self) -> str:
        return f"s{self.programs}.{self.least}"


def splits(heads: Heads) -> tuple[tuple[int, Split], ...]:
    """For at most so many sequences: few of them leave most of the GPU to each."""
    if heads.window:
        return (4, Split(16, 32)), (64, Split(8, 32))
    return (4, Split(64, 32)), (64, Split(8, 64))


def heads_to_cache(heads: Heads) -> Kernel:
    kinds = types(
        qkv="*bf16", positions="*i64", angles="*fp32", q_norm="*bf16", k_norm="*bf16", keys="*bf16", values="*bf16",
        query="*bf16", SLOTS="i32", TOKENS="i32", HALF="i32", ROWS="i32",
    )  # fmt: skip
    constants = (*(pair for pair in heads.fixed if pair[0] != "WINDOW"), *heads.writing)
    programs = heads.heads + heads.kv_heads * heads.writes
    way = Way((), ("a3", str(programs), "1"), warps=1, stages=1)
    name = f"heads_to_cache.{heads.word}"
    aligned = all_aligned(dict(kinds), "positions", "SLOTS", "TOKENS", "HALF", "ROWS", "angles")
    return Kernel(name, "cached_attention", "heads_to_cache", kinds, aligned, constants, (way,))


def attend_split(heads: Heads, split: Split) -> Kernel:
    kinds = types(
        qkv="*bf16", positions="*i64", angles="*fp32", q_norm="*bf16", k_norm="*bf16", keys="*bf16", values="*bf16",
        out="*bf16", partial="*fp32", SLOTS="i32", HALF="i32", BATCH="i32",
    )  # fmt: skip
    rows = max(_LEAST_ROWS, 1 << (heads.heads // heads.kv_heads - 1).bit_length())
    constants = (
        *heads.fixed, *heads.writing, ("SPLITS", split.programs), ("LEAST", split.least), ("ROWS", rows),
    )  # fmt: skip
    grid = (str(split.programs), str(heads.kv_heads), "a2")
    ways = tuple(Way((("BLOCK_N", keys),), grid, 4, stages) for keys, stages in ((32, 2), (32, 1), (16, 1)))
    aligned = all_aligned(dict(kinds), "positions", "SLOTS", "HALF", "BATCH", "angles")
    name = f"attend_split.{heads.word}.{split.word}"
    return Kernel(name, "cached_attention", "attend_split", kinds, aligned, constants, ways)


def attend_merge(heads: Heads, split: Split) -> Kernel:
    kinds = types(positions="*i64", out="*bf16", partial="*fp32", BATCH="i32")
    width = min(heads.width, 64)
    constants = (*heads.fixed, ("SPLITS", split.programs), ("LEAST", split.least), ("BLOCK_D", width))
    grid = (str(heads.heads), str(heads.width // width), "a0")
    ways = (Way((), grid, 4, 1),)
    name = f"attend_merge.{heads.word}.{split.word}"
    aligned = all_aligned(dict(kinds), "positions", "BATCH")
    return Kernel(name, "cached_attention", "attend_merge", kinds, aligned, constants, ways)


def attend_tokens(heads: Heads, positions: str = "*i64") -> Kernel:
    """``positions``: the type of theirs."""
    kinds = types(
        query="*bf16", positions=positions, keys="*bf16", values="*bf16", out="*bf16", SLOTS="i32", TOKENS="i32",
        BATCH="i32",
    )  # fmt: skip
    group = heads.heads // heads.kv_heads
    tilings = (
        [(64, 32, 8, 2), (64, 16, 8, 1), (16, 16, 4, 1)]
        if heads.width > 256
        else [(128, 64, 8, 2), (64, 32, 4, 2), (32, 32, 4, 1)]
    )
    ways = []
    for rows, keys, warps, stages in tilings:
        grid = (f"a2*{heads.kv_heads}", f"a1*{group}/{rows}", "1")
        ways.append(Way((("BLOCK_M", rows), ("BLOCK_N", keys)), grid, warps, stages))
    name = f"attend_tokens.{heads.word}{'' if positions == '*i64' else '.' + positions[1:]}"
    aligned = all_aligned(dict(kinds), "positions", "SLOTS", "TOKENS", "BATCH")
    return Kernel(name, "attend_tokens", "attend_tokens", kinds, aligned, heads.fixed, tuple(ways))
