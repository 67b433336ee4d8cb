"""Bundles that libg4rt refuses: what Python's runtime refuses, and with the name of the file or the field."""

import json
import os
import random
from pathlib import Path

import pytest

from g4compile.bundle.requires import KNOWN
from tests.bundle.test_consistency import BFLOAT16_LIES, CONTRADICTIONS, RANGES, put
from tests.manifests import change, linked, put_listed, replace, rewrite, with_own_hash
from tests.native.building import output
from tests.native.rt.g4rt import Refused, onnxruntime_library

UNREAD = {("activations",), ("source",)}  # fields for reports


@pytest.fixture
def copy(bundles, tmp_path):
    return linked(bundles("tiny-e2b").folder, tmp_path / "bundle")


def refused(rt, folder, words=".", status="bad-bundle"):
    with pytest.raises(Refused, match=words) as caught:
        rt.open(folder).close()
    assert caught.value.status == status, caught.value
    return caught.value.words


@pytest.mark.parametrize(("path", "value"), [(path, value) for path, value, _ in RANGES if path not in UNREAD])
def test_fields_out_of_their_range(rt, copy, path, value):
    rewrite(copy, put(path, value))
    status = "unsupported" if path == ("engine",) else "bad-bundle"
    words = refused(rt, copy, status=status)
    assert "g4.json" in words or status == "unsupported"


@pytest.mark.parametrize(("path", "value"), [(path, value) for path, value, _ in CONTRADICTIONS if path not in UNREAD])
def test_fields_that_contradict_each_other(rt, copy, path, value):
    rewrite(copy, put(path, value))
    assert "g4.json" in refused(rt, copy)


@pytest.mark.parametrize(("path", "value"), [(path, value) for path, value, _ in BFLOAT16_LIES if path not in UNREAD])
def test_a_bfloat16_cache(g4ops, quantized, rt, tmp_path, path, value):
    folder = linked(quantized("tiny-e2b", "exact", "g4ops", "bfloat16").folder, tmp_path / "bundle")
    rewrite(folder, put(path, value))
    assert "g4.json" in refused(rt, folder)


@pytest.mark.parametrize("name", ["decoder.onnx", "embed.onnx"])
def test_a_changed_byte_of_a_graph(rt, copy, name):
    data, picked = bytearray((copy / name).read_bytes()), random.Random(3)
    for _ in range(5):
        data[picked.randrange(len(data))] ^= 1 << picked.randrange(8)
        replace(copy / name, bytes(data))
        refused(rt, copy, f"content of .*{name} is not what was compiled")


def test_a_graph_that_is_another_one(rt, copy, bundles):
    """With the hash of what it is: its inputs are not those that the manifest names."""
    other = bundles("tiny-e4b").folder
    data = (other / "decoder.onnx").read_bytes()
    replace(copy / "decoder.onnx", data)
    spec = json.loads((other / "g4.json").read_text())["files"]["decoder.onnx"]
    change(copy, files=lambda files: {**files, "decoder.onnx": spec})
    refused(rt, copy, r"decoder\.onnx")


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (Path.mkdir, "no regular file"),
        (os.mkfifo, "no regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "no regular file"),
        (lambda path: path.symlink_to("/etc/hostname"), "leads out of the bundle|not valid|valid JSON"),
        (lambda path: path.symlink_to(path.name), "levels of symbolic links"),
        (lambda path: path.write_bytes(b""), "bytes|valid JSON"),
        (lambda path: None, "lacks its file|no bundle"),
    ],
)
@pytest.mark.parametrize("name", ["embed.onnx", "weights.data", "g4.json"])
def test_what_is_no_file_of_the_bundle(rt, copy, make, what, name):
    (copy / name).unlink()
    make(copy / name)
    refused(rt, copy, what)


@pytest.mark.parametrize("name", ["../g4.json", "/etc/hostname", "a\\b", "c:d", "..", ""])
def test_names_stay_inside_the_folder(rt, copy, name):
    rewrite(copy, put(("graphs", "embed", "file"), name))
    refused(rt, copy, "not the plain name of a file")


def test_files_are_links_in_a_hub_cache(rt, bundles, tmp_path):
    source, model = bundles("tiny-e2b").folder, tmp_path / "models--a--b"
    blobs, snapshot = model / "blobs", model / "snapshots" / "abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for file in source.iterdir():
        os.link(file, blobs / file.name)
        (snapshot / file.name).symlink_to(Path("../../blobs") / file.name)
    rt.open(snapshot).close()
    for name in ("models-a", "models--a--c"):  # no cache by its name; and one without the folder of the files
        other = tmp_path / name / "snapshots" / "abc"
        other.mkdir(parents=True)
        for file in source.iterdir():
            os.link(file, other.parent / file.name)
            (other / file.name).symlink_to(Path("..") / file.name)
        refused(rt, other, "leads out of the bundle")


def test_an_id_of_media_that_are_not_taken_may_be_any(rt, seeing, tmp_path):
    """And is among no ids: 2^31, cut to 31 bits, would be the padding."""
    folder = linked(seeing("tiny-e2b").folder, tmp_path / "bundle")
    rewrite(folder, put(("media", "tokens", "audio", "id"), 1 << 31))
    with rt.open(folder) as model, model.session() as session:
        session.prefill([0, 5, 0])
        assert session.length == 3


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"manifest_version": 2}, "manifest version 2, and this libg4rt reads version 3: compile"),
        ({"manifest_version": 4}, "manifest version 4.*update libg4rt"),
        ({"requires": ["telepathy"]}, "needs telepathy, which this libg4rt does not know"),
        ({"requires": ["weight-steps"]}, "target onnx-cpu needs weight-steps, which this libg4rt does not do"),
    ],
)
def test_what_this_runtime_does_not_run(rt, copy, fields, words):
    change(copy, **fields)
    refused(rt, copy, words, "unsupported")


def test_every_word_that_bundles_may_require_is_known(rt, copy):
    """Of those that Python knows: one that this runtime does not do is no reason to update it."""
    original = (copy / "g4.json").read_bytes()
    for word in KNOWN:
        replace(copy / "g4.json", original)
        change(copy, requires=[word])
        try:
            rt.open(copy).close()
        except Refused as caught:
            assert "does not know" not in caught.words


def test_bundles_of_other_targets_are_named(rt, engine_bundle):
    refused(rt, engine_bundle.folder, "a bundle of the target tensorrt-rtx, which libg4rt does not run", "unsupported")


def test_a_bundle_of_onnx_cuda_is_named(rt, copy):
    change(copy, target="onnx-cuda", cuda={"chunk": 128})
    refused(rt, copy, "a bundle of the target onnx-cuda, which libg4rt does not run", "unsupported")


def test_another_dtype_of_keys_than_asked_for(rt, copy):
    with pytest.raises(Refused, match="keeps keys and values as float32, not as int8: compile it with --kv int8"):
        rt.open(copy, kv_dtype="int8")
    rt.open(copy, kv_dtype="float32").close()
    with pytest.raises(Refused, match="none of float32, bfloat16, int8") as caught:
        rt.open(copy, kv_dtype="int4")
    assert caught.value.status == "bad-argument"


def test_manifests_of_changed_bytes(rt, copy):
    """500 changes of bytes, with the own hash mended or not: a status each time, or a bundle that opens."""
    data, picked, opened = (copy / "g4.json").read_bytes(), random.Random(9), 0
    for index in range(500):
        broken = bytearray(data)
        for _ in range(picked.choice((1, 1, 2, 8))):
            broken[picked.randrange(len(broken))] = picked.randrange(256)
        if index % 7 == 0:
            broken = broken[: picked.randrange(len(broken))]
        replace(copy / "g4.json", with_own_hash(bytes(broken)) if index % 4 else bytes(broken))
        try:
            rt.open(copy).close()
            opened += 1
        except Refused as caught:
            assert caught.status in ("bad-bundle", "unsupported"), caught
    assert opened < 250


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "a value is expected"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"a": 1, "a": 2}', "stands twice"),
        (b'{"a": "\\ud800"}', "half of a surrogate pair"),
        (b'{"a": "\xff"}', "no valid UTF-8"),
        (b'{"a": 1} x', "more behind its end"),
        (b"[]", "no JSON object"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "a number is too long"),
        (b'{"manifest_version": 1e999}', "manifest_version is no whole number"),
    ],
)
def test_manifests_that_are_none(rt, copy, text, words):
    replace(copy / "g4.json", text)
    refused(rt, copy, words)


def test_a_folder_without_a_bundle(rt, tmp_path):
    refused(rt, tmp_path, "there is no bundle at")
    refused(rt, tmp_path / "nowhere", "there is no bundle at")


OLD = """
#include <dlfcn.h>
typedef struct { const void* (*api)(unsigned); const char* (*version)(void); } Base;
static const char* version(void) { return "1.22.0"; }
const Base* OrtGetApiBase(void) {
  static Base base;
  const Base* (*real)(void) = (const Base* (*)(void))dlsym(dlopen("%s", RTLD_NOW), "OrtGetApiBase");
  base.api = real()->api;
  base.version = version;
  return &base;
}
"""


def test_an_old_onnx_runtime_is_asked_to_be_replaced(rt, copy, tmp_path):
    """Where it does not open a graph: nobody would look for that in the bundle."""
    put_listed(copy, "embed.onnx", b"an operator of tomorrow")
    refused(rt, copy, r"ONNX Runtime does not open .*embed\.onnx")
    (tmp_path / "old.c").write_text(OLD % onnxruntime_library())
    library = tmp_path / "libonnxruntime.so"
    output("cc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "old.c"), "-ldl")
    with pytest.raises(Refused, match=r"ONNX Runtime 1\.22\.0 does not open .*, and is older than 1\.25") as caught:
        rt.open(copy, onnxruntime=library)
    assert caught.value.status == "machine"
