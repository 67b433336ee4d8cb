"""The kernels of this folder by what is fixed when they are compiled: arguments, formulas of the grid, and the ladder
of ways to run them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from g4compile.targets.kernels import configs
from g4compile.targets.kernels.configs import Tiling
from g4compile.targets.kernels.launch import BYTES, Argument, Size

_WIDE = 16  # bytes of the widest load, and of a copy that goes round the registers


@dataclass(frozen=True)
class Form:
    """One way to run a kernel: values of its constants, and the grid."""

    tiling: Tiling
    constants: tuple[tuple[str, int], ...]
    grid: tuple[Size, Size, Size]


@dataclass(frozen=True)
class Variant:
    """``kernel`` stands in the module of this folder that ``module`` names. ``forms``: the best first."""

    kernel: str
    module: str
    attributes: tuple[tuple[str, int], ...]
    arguments: tuple[Argument, ...]
    forms: tuple[Form, ...]


def expert_gate_up(width: int, inner: int, tile: int, block: int) -> Variant:
    """Of ``tile`` rows; codes in blocks of ``block``, or bfloat16 weights with 0."""
    forms = [
        _experts(width, inner, block, tiling, columns=inner) for tiling in configs.gate_up(tile, quantized=block > 0)
    ]
    return _grouped("expert_gate_up", ("x", "hidden"), (width, inner, tile, block), inner, forms)


def expert_down(width: int, inner: int, tile: int, block: int) -> Variant:
    """As `expert_gate_up`."""
    forms = [_experts(width, inner, block, tiling, columns=width) for tiling in configs.down(tile, quantized=block > 0)]
    return _grouped("expert_down", ("hidden", "out"), (width, inner, tile, block), width, forms)


def _experts(width: int, inner: int, block: int, tiling: Tiling, columns: int) -> Form:
    constants = {
        "WIDTH": width,
        "INNER": inner,
        "TILE": tiling.rows,
        "BLOCK_N": tiling.columns,
        "BLOCK_K": block or tiling.depth,
        "QUANTIZED": int(block > 0),
        "UNROLL": tiling.unroll,
    }
    grid = (Size(times=columns, over=tiling.columns), Size((("tile_expert", 0),)), Size())
    return Form(tiling, tuple(constants.items()), grid)


def _grouped(
    kernel: str, ends: tuple[str, str], sizes: tuple[int, int, int, int], columns: int, forms: Sequence[Form]
) -> Variant:
    read, written = ends
    arguments = (
        _pointer(read, "bf16"),
        _pointer("row_token", "i32"),
        _single("tile_expert"),
        _pointer("weight", "i8" if sizes[3] else "bf16"),
        _pointer("scale", "bf16"),
        Argument(written, "output", "bf16", _WIDE, shape=(Size((("row_token", 0),)), Size(times=columns))),
    )
    attributes = tuple(zip(("width", "inner", "tile", "block"), sizes, strict=True))
    return Variant(kernel, "grouped_gemm", attributes, arguments, tuple(forms))


def flash_attention(heads: int, kv_heads: int, width: int) -> Variant:
    """Over a linear cache, without a window: full layers alone have heads too wide for TensorRT's own kernels."""
    fixed = {"HEADS": heads, "KV_HEADS": kv_heads, "WIDTH": width, "WINDOW": 0, "RING": 0}
    forms = []
    for tiling in configs.flash(width):
        constants = {**fixed, "BLOCK_M": tiling.rows, "BLOCK_N": tiling.columns}
        rows = Size((("q", 2),), times=heads // kv_heads, over=tiling.rows)
        forms.append(Form(tiling, tuple(constants.items()), (Size((("q", 0),), times=kv_heads), rows, Size())))
    arguments = (
        *(_pointer(name, "bf16") for name in ("q", "k", "v")),
        _single("first"),
        Argument("NEW", "size", "i32", value=Size((("q", 2),))),
        Argument("SLOTS", "size", "i32", value=Size((("k", 2),))),
        Argument("out", "output", "bf16", _WIDE, shape=tuple(Size((("q", axis),)) for axis in range(4))),
    )
    attributes = (("heads", heads), ("kv_heads", kv_heads), ("width", width))
    return Variant("flash_attention", "flash_attention", attributes, arguments, tuple(forms))


def _pointer(name: str, dtype: str) -> Argument:
    return Argument(name, "input", dtype, _WIDE)


def _single(name: str) -> Argument:
    """Numbers that a program reads one of: wide loads would gain nothing, so any whole number will do."""
    return Argument(name, "input", "i32", BYTES["i32"])
