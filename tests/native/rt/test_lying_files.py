"""Manifests and states that no graph could fit: sums beyond 64 bits, and files that would take minutes or gigabytes."""

from __future__ import annotations

import ctypes
import hashlib
import json
import struct
import time

import pytest

from tests.manifests import with_own_hash
from tests.native.rt.file_seeds import harness_manifest
from tests.native.rt.g4rt import STATUSES

LAYERS, SLOTS, CONTEXT = 128, 1 << 30, (1 << 31) - 1
HEADS, HEAD_DIM = 1024, 16384


@pytest.fixture(scope="module")
def read(rt_built):
    """The status of a manifest, and of a state of its bundle where there is one, and the words."""
    library = ctypes.CDLL(str(rt_built / "libg4rt_files_parts.so"))

    def call(manifest, state=None, capacity=CONTEXT):
        words = ctypes.c_char_p(b"")
        sizes = [ctypes.c_size_t(len(manifest)), ctypes.c_size_t(len(state or b""))]
        given = (manifest, sizes[0], state, sizes[1], ctypes.c_longlong(capacity), ctypes.byref(words))
        return STATUSES[library.files_read(*given)], words.value.decode()

    return call


def hashed(manifest):
    """The bytes, and the digest, of a manifest with its own hash."""
    data = with_own_hash(json.dumps({**manifest, "manifest_sha256": "0" * 64}).encode())
    return data, bytes.fromhex(json.loads(data)["manifest_sha256"])


def tensor(name, dtype, *shape):
    return {"name": name, "dtype": dtype, "shape": list(shape)}


def with_layers(count):
    """The harness's manifest with ``count`` full layers of float32, as large as a manifest may say."""
    manifest, _ = harness_manifest()
    bytes_per_token = 2 * 4 * HEADS * HEAD_DIM
    layer = {"kind": "full_attention", "heads": HEADS, "head_dim": HEAD_DIM, "bytes_per_token": bytes_per_token}
    layers = [{"layer": index, **layer} for index in range(count)]
    manifest["parts"]["decoder"]["kv"] = {"dtype": "float32", "rewind": 2, "layers": layers}
    manifest.update(requires=[], context=CONTEXT)
    for side, begin in (("inputs", "past_key_values"), ("outputs", "present")):
        plain = [one for one in manifest["graphs"]["decoder"][side] if not one["name"].startswith(begin)]
        names = [f"{begin}.{index}.{part}" for index in range(count) for part in ("key", "value")]
        manifest["graphs"]["decoder"][side] = plain + [tensor(one, "float", "b", HEADS, "t", HEAD_DIM) for one in names]
    return manifest


def test_a_sum_of_bytes_beyond_64_bits(read):
    """256 tensors of 2^56 bytes are 2^64, and the file seems to have all of them."""
    assert 2 * LAYERS * HEADS * HEAD_DIM * 4 * SLOTS == 1 << 64
    manifest, digest = hashed(with_layers(LAYERS))
    assert read(manifest) == ("ok", "")
    header = struct.pack("<8sII32sqq", b"g4state", 1, 2 * LAYERS, digest, SLOTS, 0)
    whole = header + struct.pack("<qq", 0, SLOTS) * (2 * LAYERS)
    status, words = read(manifest, whole + hashlib.sha256(whole).digest())
    assert (status, words) == ("bad-bundle", "state is no saved state of this bundle: it was cut off")


def test_a_graph_of_very_many_tensors_takes_seconds(read):
    """Names are not compared each with each: that takes minutes."""
    manifest, _ = harness_manifest()
    manifest["graphs"]["decoder"]["inputs"] = [tensor(f"a{index:06}", "int8") for index in range(200_000)]
    data, _ = hashed(manifest)
    assert len(data) < 16 << 20
    begun = time.process_time()
    status, words = read(data)
    assert status == "bad-bundle" and "is not one that such a graph has" in words
    assert time.process_time() - begun < 30


def test_a_manifest_of_more_values_than_memory_should_hold(read):
    manifest, _ = harness_manifest()
    data, _ = hashed({**manifest, "stop_token_ids": [1] * 1_100_000})
    status, words = read(data)
    assert status == "bad-bundle" and "it has too many values" in words
