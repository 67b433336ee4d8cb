"""The product kernels by what is fixed when they are compiled, and tilings for how many rows there are.

Tilings were chosen on an H200, at E2B's sizes, those of codes also at 31B's and 26B-A4B's; the later ones of a ladder
take less shared memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

from g4compile.targets.kernels.kernel import ALIGNED, Kernel, Way, all_aligned, types

NONE, GEGLU, GATE, SOFTCAP = range(4)
CODES = 16  # bits of a weight that is no code
_PART = 2048  # numbers of K that a program of one row has in registers, where it need not have all
_WHOLE_TO = 4096
_HEAD = 1 << 17  # rows of a matrix that is read at the speed of memory in any way
_MANY = 1 << 14  # rows of a matrix that give a GPU enough programs, however small
_FULL = 1.25  # of K, what pieces of it may have together
_PROGRAMS, _LONG = 132, 2048  # below so many programs, and from so many columns on, K is cut into parts
_MOST_PARTS = 8


@dataclass(frozen=True)
class Matrices:
    """What is multiplied with: sizes of up to three matrices [N, K], or of a gate and an up matrix; ``bits`` and
    ``block`` of codes; whether it is [E, N, K]."""

    sizes: tuple[int, ...]
    columns: int
    bits: int = CODES
    block: int = 1
    grouped: bool = False

    @property
    def integers(self) -> tuple[int, int, int, int]:
        """N0, N1, N2, K."""
        first, second, third, *_ = (*self.sizes, 0, 0, 0)
        return first, second, third, self.columns

    @property
    def even(self) -> bool:
        """Whether every row of a matrix and of x begins at a multiple of the widest load."""
        return all(size % ALIGNED == 0 for size in (*self.sizes, self.columns))

    @property
    def word(self) -> str:
        kind = "bf16" if self.bits == CODES else f"int{self.bits}x{self.block}"
        return f"{kind}{'.grouped' if self.grouped else ''}{'' if self.even else '.uneven'}"


@dataclass(frozen=True)
class Stream:
    """What stands in front of a product: a sum, a scalar, a norm times ``factor``."""

    adds: bool
    scaled: bool
    normed: bool
    factor: float = 1.0

    @property
    def word(self) -> str:
        parts = ("add", self.adds), ("scale", self.scaled), (f"norm{self.factor:g}", self.normed)
        return "stream" + "".join(f".{name}" for name, has in parts if has)


def product_one(
    matrices: Matrices, activation: int, stream: Stream | None, wide: bool, cap: float, epsilon: float
) -> Kernel:
    """One row. ``wide``: y is float32. Of ``grouped`` matrices, a row each: x is one, or (without GeGLU) one a tile."""
    rows, columns, warps = _tile_of_one(matrices, activation, stream)
    whole = columns >= matrices.columns
    weight, before = ("*bf16" if matrices.bits == CODES else "*i32"), stream or Stream(False, False, False)
    kinds = types(
        h="*fp32" if stream else "*bf16", p="*bf16", post="*bf16", scalar="*bf16", pre="*bf16", w0=weight, w1=weight,
        w2=weight, s0="*bf16", s1="*bf16", s2="*bf16", gate="*bf16", tile_expert="*i32",
        y="*fp32" if wide else "*bf16", v="*fp32", N0="i32", N1="i32", N2="i32", K="i32", GATE_AT="i32", TILES="i32",
    )  # fmt: skip
    constants = {
        "ADDS": int(before.adds), "SCALED": int(before.scaled), "NORMED": int(before.normed),
        "FACTOR": before.factor, "ACTIVATION": activation, "CAP": cap or 1.0, "EPSILON": epsilon,
        "BITS": matrices.bits, "BLOCK": matrices.block, "GROUPED": int(matrices.grouped),
        "ROW_OF_TILE": int(matrices.grouped and activation == NONE), "BLOCK_N": rows, "BLOCK_K": columns,
        "WHOLE": int(whole),
    }  # fmt: skip
    part, front, width = "" if whole else ".part", before.word if stream else "row", ".wide" if wide else ""
    name = f"product_one.{matrices.word}.a{activation}.{front}.n{rows}.k{columns}{part}.w{warps}{width}"
    across = f"a0/{rows}" if activation == GEGLU else f"a0/{rows}+a1/{rows}+a2/{rows}"
    way = Way((), (across, "a5", "1"), warps)
    unaligned = ("tile_expert", "GATE_AT", "TILES", *(() if matrices.even else ("N0", "N1", "N2", "K")))
    return Kernel(
        name, "products", "product_one", kinds, all_aligned(dict(kinds), *unaligned), tuple(constants.items()), (way,)
    )


def norms_itself(matrices: Matrices) -> bool:
    """Whether a program of one row norms it, which needs all of it at once: what is left of a power of two costs
    nothing where numbers are read, but time where numbers are made of codes."""
    return matrices.bits == CODES or matrices.columns <= _PART


def _tile_of_one(matrices: Matrices, activation: int, stream: Stream | None) -> tuple[int, int, int]:
    """Rows of W that a program multiplies, a divisor of every size; numbers of K at once; and warps."""
    whole = 1 << (matrices.columns - 1).bit_length()
    if matrices.bits != CODES and stream is None:
        return _tile_of_codes(matrices, activation)
    columns = whole if stream is not None or matrices.columns <= _WHOLE_TO else _PART
    if matrices.bits != CODES:
        columns = max(columns, matrices.block)
        wanted = 16 if activation == GEGLU or matrices.sizes[0] >= _HEAD else 8
        warps = 8 if len(matrices.sizes) == 2 else 4
    elif matrices.sizes[0] >= _HEAD:
        wanted, warps = 8, 2 if columns <= _PART else 4
    else:
        few = columns > _WHOLE_TO or (activation == NONE and matrices.columns == _PART)
        wanted = 8 if columns < 512 else 2 if few else 4
        warps = 8 if columns > _WHOLE_TO or matrices.columns > 8192 else 4
    return gcd(wanted, *matrices.sizes), columns, warps


def _tile_of_codes(matrices: Matrices, activation: int) -> tuple[int, int, int]:
    """The same of codes whose row of x is normed already: pieces of K that leave little of their last one empty."""
    if activation == GEGLU:
        most = 512 if matrices.sizes[0] >= _MANY else 1024
    elif sum(matrices.sizes) >= _MANY // 4:
        most = 1024
    else:
        most = 2 * _PART if matrices.columns >= 4 * _PART and sum(matrices.sizes) < _PART else _PART
    piece = max(least := 256, matrices.block)
    while piece < most and -(-matrices.columns // (2 * piece)) * 2 * piece <= matrices.columns * _FULL:
        piece *= 2
    warps = max(2, piece // (256 if activation == GEGLU else 512))
    return gcd(32 if piece == least else 8, *matrices.sizes), piece, warps


@dataclass(frozen=True)
class Rows:
    """How rows are multiplied: in tiles of ``tile``; y in float32 where it is ``wide``; rows of x looked up where they
    are ``gathered``; x in float32, of which 16 bits count, where it is ``fine``; an up matrix ``stacked`` behind its
    gate matrix; K in ``parts``, whose sums are float32."""

    tile: int
    wide: bool = False
    gathered: bool = False
    fine: bool = False
    stacked: bool = False
    parts: int = 1

    @property
    def word(self) -> str:
        flags = "wide", "gathered", "fine", "stacked"
        found = [name for name in flags if getattr(self, name)] + ([f"parts{self.parts}"] if self.parts > 1 else [])
        return ".".join([f"t{self.tile}", *found])


def product_rows(matrices: Matrices, activation: int, form: Rows, cap: float = 0.0) -> Kernel:
    """Many rows."""
    weight, y = "*bf16" if matrices.bits == CODES else "*u8", "*fp32" if form.wide or form.parts > 1 else "*bf16"
    kinds = types(
        x="*fp32" if form.fine else "*bf16", w0=weight, w1=weight, w2=weight, s0="*bf16", s1="*bf16", s2="*bf16",
        gate="*bf16", row_token="*i32", tile_expert="*i32", y=y, N0="i32", N1="i32", N2="i32", K="i32", ROWS="i32",
        GATE_ROW="i32", GATE_AT="i32", TILES="i32",
    )  # fmt: skip
    tilings = _tilings(matrices, activation, form)
    even = all(matrices.columns % depth == 0 for _, depth, _, _ in tilings)
    constants = {
        "ACTIVATION": activation, "CAP": cap or 1.0, "BITS": matrices.bits, "BLOCK": matrices.block,
        "GROUPED": int(matrices.grouped), "GATHERED": int(form.gathered), "STACKED": int(form.stacked),
        "PARTS": form.parts, "TILE": form.tile, "BAND": 8, "EVEN": int(even),
    }  # fmt: skip
    unaligned = ("ROWS", "GATE_ROW", "GATE_AT", "TILES", *(() if matrices.even else ("N0", "N1", "N2", "K")))
    return Kernel(
        f"product_rows.{matrices.word}.a{activation}.{form.word}{'' if even else '.cut'}", "products", "product_rows",
        kinds, all_aligned(dict(kinds), *unaligned), tuple(constants.items()),
        tuple(_way(matrices, activation, form, tiling) for tiling in tilings),
    )  # fmt: skip


def _way(matrices: Matrices, activation: int, form: Rows, tiling: tuple[int, int, int, int]) -> Way:
    rows, depth, warps, stages = tiling
    across = f"a0/{rows}" if activation == GEGLU else f"a0/{rows}+a1/{rows}+a2/{rows}"
    along = "a7" if matrices.grouped else f"a4/{form.tile}"
    return Way((("BLOCK_N", rows), ("BLOCK_K", depth)), (across, along, str(form.parts)), warps, stages)


def _tilings(matrices: Matrices, activation: int, form: Rows) -> list[tuple[int, int, int, int]]:
    """Rows of W, columns of K, warps and stages of a tile."""
    if form.fine:
        return [(32, 64, 4, 3), (32, 64, 4, 2), (32, 32, 4, 1)]
    if matrices.bits != CODES:
        depth = matrices.block
        if form.tile < 128:
            return [(32, depth, 4, 3), (32, depth, 4, 1)]
        return [(64 if activation == GEGLU else 128, depth, 8, 3), (64, depth, 4, 2), (32, depth, 4, 1)]
    if form.tile < 128:
        return [(64, 128, 4, 5), (64, 64, 4, 4), (64, 64, 4, 3), (64, 64, 4, 2), (32, 32, 4, 2)]
    if activation == GEGLU:
        return [(128, 64, 8, 3), (64, 64, 4, 2), (64, 32, 4, 2)]
    return [(128, 64, 8, 4), (128, 64, 8, 2), (64, 64, 4, 2), (64, 32, 4, 2)]


def dequantize(matrices: Matrices) -> Kernel:
    """Codes of one matrix as bfloat16."""
    kinds = types(codes="*u8", scales="*bf16", out="*bf16", ROWS="i32", K="i32", BASE="i32")
    piece = min(1 << (matrices.columns - 1).bit_length(), _PART)
    constants = {"BITS": matrices.bits, "BLOCK": matrices.block, "PIECE": piece}
    even = matrices.columns % ALIGNED == 0
    name = f"dequantize.int{matrices.bits}x{matrices.block}.{piece}{'' if even else '.uneven'}"
    way = Way((), ("a0", f"a1/{piece}", "1"), 4, 1)
    aligned = all_aligned(dict(kinds), "ROWS", "BASE", *(() if even else ("K",)))
    return Kernel(name, "dequantize", "dequantize", kinds, aligned, tuple(constants.items()), (way,))


def parts_of(matrices: Matrices, activation: int) -> int:
    """How many parts K is cut into for few rows: so many that all of a GPU has work."""
    tiles = sum(-(-size // 64) for size in matrices.sizes)
    if activation != NONE or matrices.grouped or matrices.columns < _LONG or tiles > _PROGRAMS // 2:
        return 1
    return min(_MOST_PARTS, 2 * _PROGRAMS // tiles)


def sum_parts(columns: int, parts: int) -> Kernel:
    kinds = types(parts="*fp32", y="*bf16", COLUMNS="i32", ROWS="i32")
    block = min(1 << (columns - 1).bit_length(), 512)
    even = columns % ALIGNED == 0
    constants = {"PARTS": parts, "BLOCK": block}
    name = f"sum_parts.{parts}.{block}{'' if even else '.uneven'}"
    way = Way((), ("a1", f"a0/{block}", "1"), 4, 1)
    aligned = all_aligned(dict(kinds), "ROWS", *(() if even else ("COLUMNS",)))
    return Kernel(name, "products", "sum_parts", kinds, aligned, tuple(constants.items()), (way,))
