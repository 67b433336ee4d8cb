"""libg4ops through ctypes: what `native/include/g4ops.h` declares, with arrays of NumPy."""

from __future__ import annotations

import ctypes

import numpy as np

LIMIT = 1 << 62
SETS = ("avx512vnni", "avx2", "neon_i8mm", "neon_dotprod", "scalar")


class Weights(ctypes.Structure):
    _fields_ = (
        [(name, ctypes.c_int64) for name in ("bits", "block", "columns", "rows")]
        + [("codes", ctypes.c_void_p), ("codes_bytes", ctypes.c_size_t)]
        + [("scales", ctypes.c_void_p), ("scales_bytes", ctypes.c_size_t)]
        + [("zero_points", ctypes.c_void_p), ("zero_points_bytes", ctypes.c_size_t)]
    )


class Failed(Exception):
    """What g4ops_last_error says."""


def pointer(array):
    return None if array is None else array.ctypes.data_as(ctypes.c_void_p)


class Library:
    def __init__(self, path):
        self.path, self.c = path, ctypes.CDLL(str(path))
        size, number, any_pointer = ctypes.c_size_t, ctypes.c_int64, ctypes.c_void_p
        for name, result, arguments in (
            ("layout_version", ctypes.c_int, []),
            ("last_error", ctypes.c_char_p, []),
            ("kernels", any_pointer, [ctypes.c_char_p]),
            ("kernels_name", ctypes.c_char_p, [any_pointer]),
            ("pool_create", any_pointer, [ctypes.c_int]),
            ("pool_destroy", None, [any_pointer]),
            ("activations_bytes", size, [number] * 3),
            ("quantize", ctypes.c_int, [any_pointer] * 3 + [number] * 3 + [any_pointer, size]),
            ("product", ctypes.c_int, [any_pointer] * 4 + [size, number, number, any_pointer]),
            ("product_float", ctypes.c_int, [any_pointer] * 4 + [number, any_pointer]),
            ("lookup", ctypes.c_int, [any_pointer, any_pointer, number, any_pointer]),
            ("pack", ctypes.c_int, [number] * 3 + [any_pointer, any_pointer, size]),
        ):
            function = getattr(self.c, f"g4ops_{name}")
            function.restype, function.argtypes = result, arguments

    def error(self):
        return self.c.g4ops_last_error().decode()

    def check(self, status):
        if status:
            raise Failed(self.error())

    def kernels(self, name=None):
        found = self.c.g4ops_kernels(name.encode() if name else None)
        if not found:
            raise Failed(self.error())
        return found

    def name(self, kernels):
        return self.c.g4ops_kernels_name(kernels).decode()

    def instruction_sets(self):
        """Those that this machine runs."""
        return [name for name in SETS if self.c.g4ops_kernels(name.encode())]

    def pack(self, bits, codes, size=None):
        rows, columns = codes.shape
        panels = np.empty(-(-rows // 32) * (-(-columns // 32) * 32) * 4 * bits if size is None else size, np.uint8)
        self.check(self.c.g4ops_pack(bits, columns, rows, pointer(codes), pointer(panels), panels.nbytes))
        return panels

    def activations_bytes(self, rows, columns, block=0):
        return self.c.g4ops_activations_bytes(rows, columns, block)

    def quantize(self, kernels, x, block=0, pool=None):
        buffer = np.zeros(self.activations_bytes(*x.shape, block), np.uint8)
        status = self.c.g4ops_quantize(kernels, pool, pointer(x), *x.shape, block, pointer(buffer), buffer.nbytes)
        self.check(status)
        return buffer

    def product(self, kernels, weights, buffer, rows, block=0, pool=None):
        y = np.full((rows, weights.rows), np.nan, np.float32)
        self.check(
            self.c.g4ops_product(
                kernels, pool, ctypes.byref(weights), pointer(buffer), buffer.nbytes, rows, block, pointer(y)
            )
        )
        return y

    def product_float(self, kernels, weights, x, pool=None):
        y = np.full((len(x), weights.rows), np.nan, np.float32)
        self.check(self.c.g4ops_product_float(kernels, pool, ctypes.byref(weights), pointer(x), len(x), pointer(y)))
        return y

    def lookup(self, weights, ids):
        y = np.full((len(ids), weights.columns), np.nan, np.float32)
        self.check(self.c.g4ops_lookup(ctypes.byref(weights), pointer(ids), len(ids), pointer(y)))
        return y


def stored(matrix):
    """Weights over the arrays of a `Matrix`, which it keeps alive."""
    rows, columns = matrix.shape
    arrays = (matrix.panels(), matrix.stored_scales(), matrix.stored_zeros())
    fields = [part for array in arrays for part in (pointer(array), 0 if array is None else array.nbytes)]
    weights = Weights(matrix.bits, matrix.block, columns, rows, *fields)
    weights.arrays = arrays
    return weights
