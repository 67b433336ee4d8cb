"""Headers of safetensors files: each rule of the format, and what the library says of the same file."""

import json
import struct

import ml_dtypes
import numpy as np
import pytest
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from g4compile.errors import CheckpointError
from g4compile.weights.headers import read_header


def written(file, header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return file


def headers(file):
    with file.open("rb") as opened:
        return read_header(opened.fileno(), file)


def entry(dtype="F32", shape=(2,), begin=0, end=8):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


TWICE = (
    b'{"a": {"dtype":"F32","shape":[2],"data_offsets":[0,8]}, "a": {"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
)
BROKEN = {
    "a length beyond the file": ({}, b"", 1 << 40, "its header would have"),
    "a length beyond the limit": ({}, b"", 100_000_001, "its header would have"),
    "no JSON": (b"{,}", b"", None, "not valid JSON"),
    "no object": (b"[]", b"", None, "not a JSON object"),
    "no UTF-8": (b'{"\xff": 1}', b"", None, "not UTF-8"),
    "nested": (b'{"a":' * 100 + b"1" + b"}" * 100, b"", None, "nested deeper"),
    "metadata that is no text": ({"__metadata__": {"a": 1}}, b"", None, "text to text"),
    "a number as entry": ({"a": 1}, b"", None, "not described by"),
    "no offsets": ({"a": {"dtype": "F32", "shape": [2]}}, b"", None, "not described by"),
    "another dtype": ({"a": entry("F4")}, bytes(8), None, "has the dtype 'F4'"),
    "a negative size": ({"a": entry(shape=(-2,))}, bytes(8), None, "has the shape [-2]"),
    "a huge size": ({"a": entry(shape=(1 << 62, 1 << 62))}, bytes(8), None, "has the shape"),
    "true as a size": ({"a": entry(shape=(True, 2))}, bytes(8), None, "has the shape [True, 2]"),
    "offsets beyond the data": ({"a": entry(shape=(4,), end=16)}, bytes(8), None, "take 16 bytes, and 8 follow"),
    "offsets of another size": ({"a": entry(end=4)}, bytes(4), None, "of 8 bytes (F32 [2]) has the data_offsets"),
    "offsets turned round": ({"a": entry(begin=8, end=0)}, bytes(8), None, "has the data_offsets [8, 0]"),
    "a hole": ({"a": entry(), "b": entry(begin=12, end=20)}, bytes(20), None, "hole or overlap"),
    "an overlap": ({"a": entry(), "b": entry(begin=4, end=12)}, bytes(12), None, "hole or overlap"),
    "a hole in front": ({"a": entry(begin=4, end=12)}, bytes(12), None, "hole or overlap"),
    "data that no tensor has": ({"a": entry()}, bytes(9), None, "take 8 bytes, and 9 follow"),
    "a key twice": (TWICE, bytes(8), None, "'a' stands twice"),
}
# What the library takes: of two keys the last, and dtypes below a byte.
OURS_ALONE = {"a key twice", "another dtype"}


@pytest.mark.parametrize("name", BROKEN)
def test_each_rule(name, tmp_path):
    header, data, length, said = BROKEN[name]
    file = written(tmp_path / "x.safetensors", header, data, length)
    with pytest.raises(CheckpointError) as caught:
        headers(file)
    assert said in str(caught.value) and str(file) in str(caught.value)
    if name in OURS_ALONE:
        return
    with pytest.raises(SafetensorError), safe_open(file, "numpy"):
        pass


def test_the_library_takes_the_last_of_two(tmp_path):
    with safe_open(written(tmp_path / "x.safetensors", TWICE, bytes(8)), "numpy") as opened:
        assert list(opened.keys()) == ["a"]


@pytest.mark.parametrize("size", [0, 7])
def test_a_file_without_a_length(size, tmp_path):
    file = tmp_path / "x.safetensors"
    file.write_bytes(bytes(size))
    with pytest.raises(CheckpointError, match="truncated or corrupt"):
        headers(file)


def test_what_the_library_writes_is_read(tmp_path):
    random = np.random.default_rng(0)
    arrays = {
        "scalar": np.array(2.5, np.float32),
        "empty": np.zeros((0, 3), np.float32),
        "é.bfloat16": random.standard_normal((3, 2, 5)).astype(ml_dtypes.bfloat16),
        "codes": random.integers(0, 255, (4, 7), np.uint8),
        "half": random.standard_normal((4, 7)).astype(np.float16),
    }
    file = tmp_path / "x.safetensors"
    save_file(arrays, file, metadata={"format": "pt"})
    found = headers(file)
    assert {key: tensor.shape for key, tensor in found.items()} == {key: array.shape for key, array in arrays.items()}
    data = file.read_bytes()
    for key, array in arrays.items():
        assert data[found[key].offset :][: array.nbytes] == array.tobytes()
