"""What the products of libg4ops reach on this machine, by the format of their weights: measured, by its C API.

Weights are random and of a size of E2B's, so many that they come from memory. Their panels and the kernels are those
that a bundle has. Activations are rounded to 8 bits before the clock starts.
Source: `native/include/g4ops.h`, `native/LAYOUT.md`.
"""

from __future__ import annotations

import ctypes
import mmap
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from g4compile.errors import MachineError
from g4compile.weights.formats.blocks import BFLOAT16, BITS, BLOCKS, WHOLE_ROW, Array, BlockFormat
from g4compile.weights.formats.channel_panels import panel_bytes

ROWS = 512  # of a prefill
_COLUMNS, _CHANNELS = 1536, 6144  # K and N: an MLP of E2B
_BYTES = 128 << 20  # of codes, in turn: more than the caches of a processor hold
_READS, _PRODUCTS = 40, 5  # runs of a format, at most
_LEAST, _SECONDS = 3, 0.25  # after so many, no more are begun when this time is over
_SCALE = np.uint16(0x3C23)  # 0.01 in bfloat16


class ProductRate(msgspec.Struct, frozen=True):
    """Of weights with ``bits``, of which ``block`` (0: a whole row) share a scale. ``read``: bytes of codes and scales
    a second in products with one row. ``operations``: a second, with 512 rows; a multiply-add counts as two."""

    bits: int
    block: int
    read: float
    operations: float


class _Weights(ctypes.Structure):
    """`G4Weights`."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("bits", "block", "columns", "rows")),
        *(("codes", ctypes.c_void_p), ("codes_bytes", ctypes.c_size_t)),
        *(("scales", ctypes.c_void_p), ("scales_bytes", ctypes.c_size_t)),
        *(("zero_points", ctypes.c_void_p), ("zero_points_bytes", ctypes.c_size_t)),
    )


class _Products:
    """Products of the library at ``file`` on ``threads``."""

    def __init__(self, file: Path, threads: int) -> None:
        self._c = ctypes.CDLL(str(file.resolve()))
        pointer, number, size = ctypes.c_void_p, ctypes.c_int64, ctypes.c_size_t
        for name, result, arguments in (
            ("last_error", ctypes.c_char_p, []),
            ("kernels", pointer, [ctypes.c_char_p]),
            ("pool_create", pointer, [ctypes.c_int]),
            ("pool_destroy", None, [pointer]),
            ("activations_bytes", size, [number] * 3),
            ("quantize", ctypes.c_int, [pointer] * 3 + [number] * 3 + [pointer, size]),
            ("product", ctypes.c_int, [pointer] * 4 + [size, number, number, pointer]),
        ):
            function = getattr(self._c, f"g4ops_{name}")
            function.restype, function.argtypes = result, arguments
        self._kernels = self._c.g4ops_kernels(None)
        self._pool = self._c.g4ops_pool_create(threads)
        self._check(0 if self._kernels and self._pool else -1)

    def close(self) -> None:
        self._c.g4ops_pool_destroy(self._pool)

    def packed(self, x: Array) -> Array:
        """float32 ``x`` [rows, K], rounded to 8 bits."""
        buffer = np.zeros(self._c.g4ops_activations_bytes(*x.shape, 0), np.uint8)
        given = x.ctypes.data, *x.shape, 0, buffer.ctypes.data, buffer.nbytes
        self._check(self._c.g4ops_quantize(self._kernels, self._pool, *given))
        return buffer

    def run(self, format: BlockFormat, codes: Array, scales: Array, packed: Array, y: Array) -> None:
        """``y`` float32 [rows, N]."""
        shape = format.bits, format.block, _COLUMNS, _CHANNELS
        arrays = codes.ctypes.data, codes.nbytes, scales.ctypes.data, scales.nbytes, None, 0
        weights = ctypes.byref(_Weights(*shape, *arrays))
        given = packed.ctypes.data, packed.nbytes, len(y), 0, y.ctypes.data
        self._check(self._c.g4ops_product(self._kernels, self._pool, weights, *given))

    def _check(self, status: int) -> None:
        if status:
            why = self._c.g4ops_last_error().decode(errors="replace")
            raise MachineError("a product of the library libg4ops failed", why=why, fix="check `g4compile doctor`")


def product_rates(file: Path, threads: int) -> tuple[ProductRate, ...]:
    """Of every format that the library at ``file`` has: a few seconds. Raises MachineError."""
    random = np.random.default_rng(0)
    memory = np.frombuffer(mmap.mmap(-1, _BYTES), np.uint8)  # from a page on, as the weights of a bundle
    memory[:] = np.frombuffer(random.bytes(_BYTES), np.uint8)
    x = random.standard_normal((ROWS, _COLUMNS), np.float32)
    products = _Products(file, threads)
    try:
        one, many = products.packed(x[:1]), products.packed(x)
        formats = [BlockFormat(bits, block, scales=BFLOAT16) for bits in BITS for block in (WHOLE_ROW, *BLOCKS)]
        return tuple(_rate(products, format, memory, one, many) for format in formats)
    finally:
        products.close()


def _rate(products: _Products, format: BlockFormat, memory: Array, one: Array, many: Array) -> ProductRate:
    sizes = panel_bytes(_CHANNELS, _COLUMNS, format)
    scale = np.float32(0.01) if format.block == WHOLE_ROW else _SCALE
    scales = np.full(sizes["scales"] // scale.nbytes, scale)
    places = memory[: len(memory) // sizes["codes"] * sizes["codes"]].reshape(-1, sizes["codes"])
    y = np.empty((ROWS, _CHANNELS), np.float32)

    def run(turn: int, packed: Array, y: Array) -> None:
        products.run(format, places[turn % len(places)], scales, packed, y)

    read = _median(lambda turn: run(turn, one, y[:1]), _READS)
    product = _median(lambda turn: run(turn, many, y), _PRODUCTS)
    operations = 2.0 * ROWS * _COLUMNS * _CHANNELS
    return ProductRate(format.bits, format.block, sum(sizes.values()) / read, operations / product)


def _median(run: Callable[[int], Any], most: int) -> float:
    """Seconds of up to ``most`` runs, after one to warm up."""
    run(0)
    found: list[float] = []
    while len(found) < most and (len(found) < _LEAST or sum(found) < _SECONDS):
        start = time.perf_counter()
        run(len(found))
        found.append(time.perf_counter() - start)
    return statistics.median(found)
