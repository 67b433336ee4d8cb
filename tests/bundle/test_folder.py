"""Opening a bundle: what is refused, by which words, and that a changed byte of a graph never runs."""

import json
import os
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from g4compile.bundle.folder import Bundle
from g4compile.bundle.manifest import CudaSpec, GraphSpec, KVSpec, TensorSpec
from g4compile.bundle.requires import KNOWN, required
from g4compile.errors import BundleError
from g4compile.runtime.session import load
from tests.manifests import change, linked


@pytest.fixture
def copy(bundles, tmp_path):
    return shutil.copytree(bundles("tiny-e2b").folder, tmp_path / "bundle")


def test_graphs_have_a_part_and_a_variant_and_kv_belongs_to_a_part(bundles):
    manifest = bundles("tiny-e2b").manifest
    assert manifest.manifest_version == 3 and manifest.requires == ()
    found = {name: (graph.part, graph.variant, graph.file) for name, graph in manifest.graphs.items()}
    assert found == {"embed": ("embed", "any", "embed.onnx"), "decoder": ("decoder", "any", "decoder.onnx")}
    assert manifest.parts["embed"].kv is None and manifest.parts["decoder"].kv is manifest.kv
    assert manifest.graph("decoder") == "decoder"
    with pytest.raises(BundleError, match="no graph of the part vision, variant any"):
        manifest.graph("vision")


def test_plans_are_variants_of_the_decoder(engine_bundle):
    manifest = Bundle.open(engine_bundle.folder).manifest
    assert {"weight-steps", "host-tables", "ring-kv"} == set(manifest.requires)
    for name, graph in manifest.graphs.items():
        assert (graph.part, graph.variant, graph.rank, graph.file) == ("decoder", name, 0, f"{name}.plan")
        assert manifest.graph("decoder", name) == name


@pytest.mark.parametrize("name", ["decoder.onnx", "embed.onnx"])
def test_a_changed_byte_of_a_graph_is_refused_wherever_it_is(copy, name):
    file = copy / name
    whole = file.read_bytes()
    for place in np.linspace(0, len(whole) - 1, 60).astype(int):
        changed = bytearray(whole)
        changed[place] ^= 1 << (place % 8)
        file.write_bytes(changed)
        with pytest.raises(BundleError, match=f"content of {name} is not what was compiled"):
            load(copy)
    file.write_bytes(whole)
    load(copy)


def test_a_changed_byte_of_a_plan_is_refused(engine_bundle, tmp_path):
    folder = shutil.copytree(engine_bundle.folder, tmp_path / "engines")
    plan = folder / "verify.plan"
    data = bytearray(plan.read_bytes())
    data[len(data) // 2] ^= 4
    plan.write_bytes(data)
    with pytest.raises(BundleError, match=r"content of verify\.plan"):
        load(folder, checkpoint=tmp_path)


def test_weights_are_checked_when_asked_for(copy):
    with (copy / "weights.data").open("r+b") as data:
        data.write(b"\xff" * 8)
    with pytest.raises(BundleError, match=r"content of weights\.data"):
        Bundle.open(copy).check_hashes()


@pytest.mark.parametrize("name", ["embed.onnx", "decoder.onnx", "weights.data"])
def test_what_is_not_listed_does_not_load(copy, name):
    change(copy, files=lambda files: {key: spec for key, spec in files.items() if key != name})
    with pytest.raises(BundleError, match=f"does not list {name}"):
        load(copy)


def test_an_empty_list_of_files_does_not_load(copy):
    change(copy, files={})
    with pytest.raises(BundleError, match="does not list"):
        load(copy)


@pytest.mark.parametrize(
    "name", ["../outside.onnx", "/etc/hostname", "sub/decoder.onnx", "..", ".", "", "C:decoder.onnx", "a\\b", "a\0b"]
)
@pytest.mark.parametrize("where", ["files", "graphs"])
def test_names_stay_inside_the_folder(copy, name, where):
    shutil.copy(copy / "decoder.onnx", copy.parent / "outside.onnx")
    spec = json.loads((copy / "g4.json").read_text())["files"]["decoder.onnx"]
    if where == "files":
        change(copy, files=lambda files: {**files, name: spec})
    else:
        change(copy, graphs=lambda graphs: {**graphs, "decoder": {**graphs["decoder"], "file": name}})
    with pytest.raises(BundleError, match="not the plain name of a file"):
        load(copy)


def test_files_are_links_in_a_hub_cache(bundles, tmp_path):
    model = tmp_path / "models--org--name"
    blobs = linked(bundles("tiny-e2b").folder, model / "blobs")
    snapshot = model / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    for file in blobs.iterdir():
        (snapshot / file.name).symlink_to(f"../../blobs/{file.name}")
    load(snapshot, threads=1).forward([2, 5])


@pytest.mark.parametrize("name", ["decoder.onnx", "weights.data", "tokenizer.json", "chat_template.jinja", "g4.json"])
def test_a_link_out_of_the_folder(copy, name):
    """The same content: what is refused is where it lies."""
    (copy / name).rename(copy.parent / "blob")
    (copy / name).symlink_to(copy.parent / "blob")
    with pytest.raises(BundleError, match=f"{name} is a link that leads out of its folder"):
        load(copy)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (Path.mkdir, "a folder"),
        (os.mkfifo, "a pipe"),
        (lambda path: path.symlink_to("/dev/zero"), "leads out"),
        (lambda path: path.symlink_to(path.name), "cannot be|refused|missing"),
    ],
)
@pytest.mark.parametrize("name", ["embed.onnx", "weights.data", "tokenizer.json", "g4.json"])
def test_what_is_no_regular_file(copy, make, what, name):
    (copy / name).unlink()
    make(copy / name)
    with pytest.raises(BundleError, match=what):
        load(copy)


@pytest.mark.parametrize("name", ["tokenizer.json", "chat_template.jinja", "tokenizer_config.json"])
def test_a_changed_byte_of_a_text_file_is_refused(copy, name):
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(BundleError, match=f"content of {name} is not what was compiled"):
        load(copy)


def test_a_text_file_that_came_later_is_not_read(copy):
    change(copy, files=lambda files: {name: spec for name, spec in files.items() if name != "chat_template.jinja"})
    with pytest.raises(BundleError, match=r"chat_template\.jinja stands in the bundle, and its manifest does not list"):
        load(copy)
    (copy / "README.md").write_text("mine")
    (copy / "chat_template.jinja").unlink()
    load(copy)


def test_an_unknown_requirement_is_refused_by_name(copy):
    """Even where its manifest has fields of other types than this version's."""
    change(copy, requires=["int8-kv", "four-bit-tables"], parts=["of another form"])
    with pytest.raises(BundleError, match="needs four-bit-tables, which this g4compile does not know") as refused:
        load(copy)
    assert "update" in refused.value.fix


def test_a_new_optional_field_is_no_new_version(copy):
    change(copy, sampling={"temperature": 1.0})
    load(copy)


def test_version_1_is_refused_with_the_command_that_makes_it_again(copy):
    change(copy, manifest_version=1, target="onnx-mobile", weights="my recipe", kv={"dtype": "int8"})
    with pytest.raises(BundleError, match="manifest version 1, this g4compile reads version 3") as refused:
        load(copy)
    command = "g4compile compile CHECKPOINT --target onnx-mobile --weights 'my recipe' --kv int8"
    assert command in refused.value.fix
    assert refused.value.fix.endswith(f"-o {copy} --force")


def test_version_1_of_engines_is_refused_with_all_options(copy):
    engine = {"compute_capabilities": [89, 120], "batch": 4, "chunk": 256, "ranks": 2}
    change(copy, manifest_version=1, target="tensorrt-rtx", weights="int4", context=2048, engine=engine)
    with pytest.raises(BundleError) as refused:
        load(copy)
    options = "--weights int4 --context 2048 --sm 89,120 --batch 4 --chunk 256 --tensor-parallel 2"
    assert options in refused.value.fix


def test_version_2_had_kv_in_a_part(copy):
    change(copy, manifest_version=2, parts={"decoder": {"kv": {"dtype": "int8"}}})
    with pytest.raises(BundleError, match="manifest version 2, this g4compile reads version 3") as refused:
        load(copy)
    assert "--weights float32 --kv int8 --context 1024" in refused.value.fix


@pytest.mark.parametrize("fields", [{"kv": []}, {"engine": [1]}, {"engine": {"compute_capabilities": 7}}, {"parts": 1}])
def test_an_older_version_that_says_nothing_sensible(copy, fields):
    change(copy, manifest_version=1, **fields)
    with pytest.raises(BundleError, match="manifest version 1") as refused:
        load(copy)
    assert refused.value.fix.endswith("--force")


@pytest.mark.parametrize("version", [4, 99])
def test_a_newer_version(copy, version):
    change(copy, manifest_version=version)
    with pytest.raises(BundleError, match=f"manifest version {version}") as refused:
        load(copy)
    assert refused.value.fix == "update g4compile"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"parts": {}}, "of the part embed, which the manifest does not have"),
        ({"parts": {"embed": {}, "decoder": {}}}, "no decoder with a KV cache"),
        ({"parts": {"embed": {}, "decoder": 7}}, "manifest is not valid"),
        ({"parts": []}, "manifest is not valid"),
        ({"requires": "int8-kv"}, "manifest is not valid"),
        ({"requires": [{}]}, "which this g4compile does not know"),
        ({"manifest_version": None}, "manifest version None"),
    ],
)
def test_a_manifest_that_says_nothing_sensible(copy, fields, message):
    change(copy, **fields)
    with pytest.raises(BundleError, match=message):
        load(copy)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[]", "no JSON object"),
        ("7", "no JSON object"),
        ('"text"', "no JSON object"),
        ("[" * 200_000, r"not valid JSON[\s\S]*nested deeper than 64"),
        ('{"a":' * 100_000, r"not valid JSON[\s\S]*nested deeper than 64"),
        ('{"manifest_version": 3, "manifest_version": 2}', "stands twice"),
    ],
)
def test_a_manifest_that_is_no_object(copy, text, message):
    (copy / "g4.json").write_text(text)
    with pytest.raises(BundleError, match=message):
        load(copy)


def test_a_manifest_that_is_no_text(copy):
    (copy / "g4.json").write_bytes((copy / "g4.json").read_bytes().replace(b"onnx-cpu", b"onnx-\xff"))
    with pytest.raises(BundleError, match="not UTF-8"):
        load(copy)


def test_a_manifest_without_an_end(copy):
    with (copy / "g4.json").open("r+b") as file:
        file.truncate(1 << 40)  # a file with a hole: it takes no space
    with pytest.raises(BundleError, match="more than the 16,777,216 that are read"):
        load(copy)


@pytest.mark.parametrize("folder", ["nothing", "a\0b", "n" * 5000])
def test_no_bundle(tmp_path, folder):
    with pytest.raises(BundleError, match="there is no bundle at"):
        Bundle.open(tmp_path / folder)


def test_what_is_required(engine_bundle):
    manifest = engine_bundle.manifest
    assert required(KVSpec("float32", 16, ())) == ()
    assert required(KVSpec("int8", 16, ())) == ("int8-kv",)
    assert required(KVSpec("bfloat16", 16, ())) == ("bfloat16-kv", "g4ops")
    assert required(KVSpec("float32", 16, ()), layouts={"blocks"}) == ("onnxruntime-ops",)
    assert required(KVSpec("float32", 16, ()), layouts={"panels-1"}) == ("g4ops", "panels-1")
    two = msgspec.structs.replace(manifest.engine, ranks=2)
    cuda = CudaSpec(16, "kernels.json")
    assert required(KVSpec("bfloat16", 16, ()), layouts={"blocks"}, cuda=cuda) == ("bfloat16-kv", "g4cuda")
    stock = ("bfloat16-kv", "onnxruntime-ops")
    assert required(KVSpec("bfloat16", 16, ()), layouts={"blocks"}, cuda=CudaSpec(16)) == stock
    fed = GraphSpec("decoder.onnx", (TensorSpec("attention_mask", "int64", ("batch", "total")),), (), "decoder")
    assert required(KVSpec("float32", 0, ()), graphs=[fed]) == ("onnxruntime-genai",)
    of_onnx = {"bfloat16-kv", "int8-kv", "onnxruntime-ops", "g4ops", "g4cuda", "panels-1", "image-blocks"}
    of_onnx |= {"onnxruntime-genai"}
    assert manifest.kv.dtype == "bfloat16" and set(required(manifest.kv, two)) == set(KNOWN) - of_onnx
