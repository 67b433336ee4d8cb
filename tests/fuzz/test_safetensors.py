"""Headers and indexes with anything in them: an error of ours, or the tensors that the library reads too."""

import json
import random
import struct
import time

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from g4compile.errors import CheckpointError
from g4compile.model import presets
from g4compile.weights.checkpoint import Checkpoint
from g4compile.weights.shards import INDEX
from tests.fuzz.mutate import mutate_bytes, mutate_json, several

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


@pytest.fixture
def folder(tmp_path):
    """A config, and two files of a few small tensors with their index."""
    numbers = np.arange(24, dtype=np.float32)
    shards = [
        {"a.weight": numbers.reshape(4, 6), "a.norm": numbers[:6], "scale": numbers[3:4].reshape(())},
        {"b.codes": numbers.astype(np.uint8).reshape(2, 3, 4), "b.half": numbers[:8].astype(np.float16)},
    ]
    for name, arrays in zip(SHARDS, shards, strict=True):
        save_file(arrays, tmp_path / name, metadata={"format": "pt"})
    weight_map = {key: name for name, arrays in zip(SHARDS, shards, strict=True) for key in arrays}
    (tmp_path / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    (tmp_path / "config.json").write_text(json.dumps(presets.config("tiny-31b")))
    return tmp_path


def header_of(data):
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def changed_shard(rng, data):
    """``data`` with another header, with bytes changed anywhere or in the header, or with other numbers."""
    match rng.randrange(4):
        case 0:
            header, rest = header_of(data)
            text = json.dumps(several(rng, mutate_json, header)).encode()
            return struct.pack("<Q", len(text)) + text + rest
        case 1:
            return several(rng, mutate_bytes, data)
        case 2:
            header, rest = header_of(data)
            return data[: len(data) - len(rest)] + rng.randbytes(len(rest))
        case _:
            header, rest = header_of(data)
            text = several(rng, mutate_bytes, json.dumps(header).encode())
            return struct.pack("<Q", len(text)) + text + rest


def fuzz(seed, folder, files):
    """Whether the checkpoint of one seed opens; then it is read in both ways."""
    rng = random.Random(seed)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    if rng.random() < 0.3:
        index = several(rng, mutate_json, json.loads(files[INDEX]))
        text = json.dumps(index).encode()
        (folder / INDEX).write_bytes(text if rng.random() < 0.5 else several(rng, mutate_bytes, text))
    else:
        name = rng.choice(SHARDS)
        (folder / name).write_bytes(changed_shard(rng, files[name]))
    start = time.monotonic()
    try:
        checkpoint = Checkpoint.open(folder)
    except CheckpointError as error:
        str(error).encode()
        return False
    finally:
        assert time.monotonic() - start < 5
    for key, tensor in checkpoint.tensors.items():
        array = checkpoint.read(key)
        with safe_open(tensor.file, "numpy") as library:
            expected = library.get_tensor(key)
        assert array.dtype == expected.dtype and array.shape == expected.shape
        assert array.tobytes() == expected.tobytes()
        if array.ndim > 1 and array.size:
            rows = array.reshape(-1, array.shape[-1])
            assert checkpoint.read_rows(key, 1, len(rows)).tobytes() == rows[1:].tobytes()
    return True


def originals(folder):
    return {name: (folder / name).read_bytes() for name in (INDEX, *SHARDS)}


def test_any_header_and_any_index(folder):
    files = originals(folder)
    found = [fuzz(seed, folder, files) for seed in range(120)]
    assert 10 < sum(found) < 110  # both are met


@pytest.mark.nightly
def test_any_header_and_any_index_for_a_minute(folder):
    files, end, seed = originals(folder), time.monotonic() + 60, 1_000_000
    while time.monotonic() < end:
        fuzz(seed, folder, files)
        seed += 1
    print(f"{seed - 1_000_000:,} checkpoints")
