"""The target `onnx-cuda`: what it takes, and what a compile writes."""

import json

import numpy as np
import onnx
import pytest

from g4compile.bundle.folder import Bundle
from g4compile.bundle.manifest import CudaSpec
from g4compile.compare.dequantized import dequantized
from g4compile.compiler import compile
from g4compile.errors import BundleError, InputError
from g4compile.model.config import load_config, model_facts
from g4compile.targets import TARGETS
from g4compile.targets.choices import options_for
from g4compile.weights.bundle_weights import initializers
from g4compile.weights.quantized import QuantizedTensor
from tests.manifests import linked, rewrite
from tests.targets.onnx.cuda.conftest import CHUNK, CONTEXT


def test_defaults():
    options = TARGETS["onnx-cuda"].options(kernels="g4cuda")
    assert (options.weights, options.kv, options.chunk) == ("bfloat16", "bfloat16", 2048)
    assert options.compute_capabilities == (80, 89, 90, 100, 120)


def test_runs_are_longer_where_experts_are():
    """But with ONNX Runtime's own ops, which take memory for every tile; and what is asked for counts."""
    found = {
        (preset, kernels, chunk): options_for(
            TARGETS["onnx-cuda"], model_facts(load_config(preset)), kernels=kernels, chunk=chunk
        ).chunk
        for preset in ("e2b", "26b-a4b")
        for kernels, chunk in ((None, None), ("onnxruntime", None), (None, 512))
    }
    assert list(found.values()) == [2048, 2048, 512, 4096, 2048, 512]


def test_what_the_manifest_says(cuda_bundle):
    manifest = cuda_bundle("tiny-e2b").manifest
    assert manifest.requires == ("ring-kv", "bfloat16-kv", "g4cuda")
    assert (manifest.activations, manifest.kv.dtype, manifest.context) == ("bfloat16", "bfloat16", CONTEXT)
    assert manifest.cuda == CudaSpec(CHUNK, "kernels.json", (90,))
    sliding, full = manifest.kv.layers[0], manifest.kv.layers[-1]
    assert (sliding.slots, sliding.keep, full.slots) == (sliding.window - 1 + 16 + CHUNK, sliding.window - 1 + 16, None)
    assert list(manifest.graphs) == ["decoder", "choice"] and manifest.parts["choice"].kv is None
    assert [one.name for one in manifest.graphs["decoder"].outputs] == ["logits", "next_token"]
    assert manifest.recipe == ()


def test_a_bundle_may_be_without_the_graph_choice(cuda_bundle, tmp_path):
    folder = linked(cuda_bundle("tiny-e2b").folder, tmp_path / "bundle")
    rewrite(folder, lambda manifest: (manifest["graphs"].pop("choice"), manifest["parts"].pop("choice")))
    assert list(Bundle.open(folder).manifest.parts) == ["decoder"]


def test_the_graph_file_of_the_choice(cuda_bundle):
    """One node over the decoder's logits, with its plan."""
    bundle = cuda_bundle("tiny-e2b")
    model = onnx.load(str(bundle.folder / "choice.onnx"))
    (node,) = model.graph.node
    plan = {one.name: [text.decode() for text in one.strings] for one in node.attribute}
    assert (node.domain, node.op_type, list(node.input)) == ("g4", "TopTokens", ["logits"])
    assert plan["launches"] == ["* top_of_pieces i0 o2 1024 i0.1 i0.0", "* top_of_all.64 o2 o0 o1 64 i0.0"]
    assert plan["sizes"] == ["* o0 i0.0 64", "* o1 i0.0 64", "* o2 i0.0 1 64"]
    inputs, outputs = (bundle.manifest.graphs[name] for name in ("choice", "decoder"))
    assert inputs.inputs[0] == outputs.outputs[0]


def test_the_graph_file(cuda_bundle):
    """Ops of the library and GatherND alone; the tied table once, in pages of its own."""
    bundle = cuda_bundle("tiny-e2b")
    graph = onnx.load(str(bundle.folder / "decoder.onnx"), load_external_data=False).graph
    assert {node.op_type for node in graph.node if node.domain == ""} == {"GatherND"}
    tables = [one for one in graph.initializer if one.name.endswith("embed_tokens.weight")]
    readers = [node.op_type for node in graph.node if tables[0].name in node.input]
    assert len(tables) == 1 and readers == ["EmbedRows", "NormLogits"]
    assert int(next(entry.value for entry in tables[0].external_data if entry.key == "offset")) % 4096 == 0
    stored = {one.data_type for one in graph.initializer}
    assert stored == {onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT}
    floats = [one.name for one in graph.initializer if one.data_type == onnx.TensorProto.FLOAT]
    assert len(floats) == 2 and all(name.startswith("const.") for name in floats)  # frequencies


@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-12b"])
def test_a_reader_of_a_cache_stands_behind_its_writer_in_the_flow_of_data(variant, cuda_graph):
    """ONNX Runtime does not know that a node writes its input, and may run nodes in any order that the flow allows."""
    writers, before = {}, {}
    for node in cuda_graph(variant).graph:
        makers = {value.producer() for value in node.inputs if value is not None} - {None}
        before[node] = makers.union(*(before[maker] for maker in makers))
        if node.op_type == "CachedAttention":
            cache = node.inputs[5].name
            if node.attributes["writes"].as_int():
                assert cache not in writers
                writers[cache] = node
            else:
                assert writers[cache] in before[node]
    assert writers


def test_weights_are_those_of_the_checkpoint(cuda_bundle, stored_narrow):
    found = initializers(cuda_bundle("tiny-e2b"))
    weights = {name: array for name, array in found.items() if not name.startswith("const.")}
    for key, array in weights.items():
        np.testing.assert_array_equal(array.astype(np.float32), stored_narrow("tiny-e2b").read(key).astype(np.float32))


@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-26b-a4b"])
def test_codes_in_the_file_are_those_of_the_graph(variant, cuda_bundle, cuda_graph):
    """Experts too; as `verify` reads them."""
    model = cuda_graph(variant, weights="int4")
    references = (value.const_value for value in model.graph.initializers.values())
    coded = {one.key: one.matrix for one in references if isinstance(one, QuantizedTensor)}
    bundle, found = cuda_bundle(variant, "int4"), 0
    for key, weight in dequantized(bundle):
        np.testing.assert_allclose(weight, coded[key].dequantized(), rtol=1e-6, atol=0)
        found += 1
    assert found == len(coded) > 0
    assert bundle.manifest.recipe[-1] == "* int4 128 symmetric int8 nearest"
    assert initializers(bundle)[f"{key}.scales"].dtype.name == "bfloat16"


CONTRADICTIONS = [
    (("cuda", "chunk"), 25, "kv layer 0 has 47 slots and keep 23"),
    (("context",), 512, "past_key_values.2.key, an input of decoder"),
    (("activations",), "float32", "activations is float32 and kv.dtype bfloat16"),
    (("requires",), ["ring-kv", "bfloat16-kv"], "requires does not have g4cuda"),
    (("cuda",), None, "requires does not have g4ops"),
    (("cuda", "kernels"), 7, "is not valid"),
    (("graphs", "decoder", "variant"), "decode", "the bundle has the graphs decoder"),
    (("graphs", "choice", "variant"), "decode", "the bundle has the graphs decoder, choice"),
    (("graphs", "choice", "inputs", 0, "shape", 2), 7, "logits, an input of choice, is float.., ., 7. in graphs, but"),
    (("graphs", "choice", "outputs", 1, "dtype"), "int32", "top_tokens, an output of choice, is int32"),
    (("graphs", "choice", "outputs", 0, "shape", 1), 32, "top_logits, an output of choice, is float.., 32. in graphs"),
    (("graphs", "decoder", "outputs", 1, "dtype"), "int32", "next_token, an output of decoder, is int32"),
]


@pytest.mark.parametrize(("path", "value", "message"), CONTRADICTIONS)
def test_fields_that_contradict_each_other(cuda_bundle, tmp_path, path, value, message):
    def edit(manifest):
        *steps, last = path
        for step in steps:
            manifest = manifest[step]
        manifest[last] = value

    folder = linked(cuda_bundle("tiny-e2b").folder, tmp_path / "bundle")
    rewrite(folder, edit)
    with pytest.raises(BundleError, match=message):
        Bundle.open(folder)


REFUSED = [
    ({"weights": "float32"}, "onnx-cuda takes no float32 weights"),
    ({"weights": "mobile"}, "onnx-cuda takes no mobile weights"),
    ({"kv": "int8"}, "onnx-cuda has no KV cache of int8"),
    ({"modalities": ("text", "image")}, "image is not compiled for onnx-cuda by this version"),
    ({"batch": 2}, "--batch is no option of the target onnx-cuda"),
    ({"kernels": "g4ops"}, "there are no kernels g4ops for CUDA"),
    ({"chunk": 8}, "runs of 8 tokens are not possible"),
    ({"chunk": 10**6}, "runs of 1,000,000 tokens are not possible"),
    ({"compute_capabilities": (75,)}, "there are no kernels for compute capability 75"),
    ({"compute_capabilities": ()}, "there are no kernels for no compute capability"),
]


@pytest.mark.parametrize(("given", "message"), REFUSED)
def test_what_is_refused(given, message, stored_narrow, tmp_path):
    with pytest.raises(InputError, match=message):
        compile(stored_narrow("tiny-e2b").folder, "onnx-cuda", tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_codes_of_a_checkpoint_are_refused(coded, tmp_path):
    with pytest.raises(InputError, match="onnx-cuda takes no a checkpoint of codes"):
        compile(coded("tiny-e2b").folder, "onnx-cuda", tmp_path / "out")


def test_two_compiles_give_the_same_bytes(cuda_bundle, stored_narrow, tmp_path):
    bundle, folder = cuda_bundle("tiny-e2b", kernels=True), tmp_path / "out"
    compile(
        stored_narrow("tiny-e2b").folder, "onnx-cuda", folder, context=CONTEXT, chunk=CHUNK, compute_capabilities=(90,)
    )
    assert json.loads((folder / "g4.json").read_text()) == json.loads((bundle.folder / "g4.json").read_text())
    assert any(name.endswith(".90.cubin") for name in bundle.manifest.files)
    kernels = json.loads((folder / "kernels.json").read_text())["kernels"]
    assert {"top_of_pieces", "top_of_all.64", "largest_logits"} <= {one["name"] for one in kernels}
