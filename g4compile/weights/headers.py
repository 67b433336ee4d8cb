"""The header of a safetensors file: which tensors it holds, and where.

Layout: 8 bytes with the length of the header (little-endian), the header as a JSON object, then the data. An entry has
`dtype`, `shape` and `data_offsets`, from the start of the data; `__metadata__` maps text to text. The entries cover the
data without holes and without overlaps. Source: the format's README, and `validate` in its `tensor.rs`. That library
does not see a name that stands twice: the last one counts there. Here it is an error.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from g4compile.errors import CheckpointError
from g4compile.inputs.documents import decode_json
from g4compile.inputs.files import Kind

SHARD = Kind(
    "a safetensors file",
    1 << 44,
    CheckpointError,
    "download it again, or compare its size and checksum with the source",
)
_LENGTH, _LONGEST = 8, 100_000_000  # bytes: of the length, and the most that the library takes for a header
_AXES = 16
# The format's names; those below a byte are left out, since no checkpoint of this model has them.
DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "U8": np.dtype(np.uint8),
    "I8": np.dtype(np.int8),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "I16": np.dtype(np.int16),
    "U16": np.dtype(np.uint16),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I32": np.dtype(np.int32),
    "U32": np.dtype(np.uint32),
    "F32": np.dtype(np.float32),
    "I64": np.dtype(np.int64),
    "U64": np.dtype(np.uint64),
    "F64": np.dtype(np.float64),
}


@dataclass(frozen=True)
class StoredTensor:
    """Header of one stored tensor. ``dtype`` is safetensors' name (`BF16`, `F32`, ...); ``offset``: of its first byte
    in the file."""

    key: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    offset: int = 0


def read_header(descriptor: int, file: Path) -> dict[str, StoredTensor]:
    """The tensors of the open ``file``, by key. Raises CheckpointError with the rule that it breaks."""
    size = os.fstat(descriptor).st_size
    length = int.from_bytes(os.pread(descriptor, _LENGTH, 0), "little")
    if size < _LENGTH or length > min(size - _LENGTH, _LONGEST):
        raise _corrupt(file, f"it has {size:,} bytes, and its header would have {length:,}")
    start = _LENGTH + length
    header = decode_json(os.pread(descriptor, length, _LENGTH), SHARD, file)
    if not isinstance(header, dict):
        raise _corrupt(file, "its header is not a JSON object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _corrupt(file, "its __metadata__ does not map text to text")
    spans, tensors = [(0, 0)], {}
    for key, entry in header.items():
        dtype, shape, (begin, end) = _entry(key, entry, file)
        spans.append((begin, end))
        tensors[key] = StoredTensor(key, dtype, shape, file, start + begin)
    spans.sort()
    for (_, end), (begin, _) in pairwise(spans):
        if begin != end:
            raise _corrupt(
                file, f"its tensors leave a hole or overlap: one ends at byte {end:,}, one begins at {begin:,}"
            )
    if spans[-1][1] != size - start:
        raise _corrupt(file, f"its tensors take {spans[-1][1]:,} bytes, and {size - start:,} follow the header")
    return tensors


def _entry(key: str, entry: Any, file: Path) -> tuple[str, tuple[int, ...], tuple[int, int]]:
    """dtype, shape and span of one entry, checked."""
    if not isinstance(entry, Mapping) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _corrupt(file, f"tensor {key!a} is not described by dtype, shape and data_offsets alone")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise _corrupt(
            file, f"tensor {key!a} has the dtype {dtype!a:.40}; those that can be read are {', '.join(DTYPES)}"
        )
    if not _sizes(shape) or len(shape) > _AXES:
        raise _corrupt(file, f"tensor {key!a} has the shape {shape!a:.80}")
    nbytes = math.prod(shape) * DTYPES[dtype].itemsize
    if not _sizes(offsets) or len(offsets) != 2 or offsets[1] - offsets[0] != nbytes:
        why = f"tensor {key!a} of {nbytes:,} bytes ({dtype} {shape}) has the data_offsets {offsets!a:.80}"
        raise _corrupt(file, why)
    return dtype, tuple(shape), (offsets[0], offsets[1])


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(size) is int and 0 <= size < 1 << 48 for size in value)


def _corrupt(file: Path, why: str) -> CheckpointError:
    return CheckpointError("a safetensors file is truncated or corrupt", where=str(file), why=why, fix=SHARD.fix)
