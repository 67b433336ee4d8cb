"""Compiling for `onnx-cuda` with ONNX Runtime's own kernels: when it is chosen, what is said, and what is written."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from g4compile.bundle.folder import Bundle
from g4compile.bundle.manifest import CudaSpec
from g4compile.cli.app import app
from g4compile.compare.dequantized import dequantized
from g4compile.compiler import compile
from g4compile.errors import BundleError, InputError, MachineError
from g4compile.runtime.cuda import opening
from g4compile.targets.onnx.cuda import options
from g4compile.targets.onnx.cuda.target import ONNX_CUDA
from g4compile.weights.bundle_weights import initializers
from g4compile.weights.quantized import QuantizedTensor
from tests.conftest import once
from tests.manifests import linked, rewrite
from tests.runtime.host_device import HostDevice
from tests.targets.onnx.cuda.conftest import CHUNK, CONTEXT


@pytest.fixture(scope="session")
def stock_bundle(shared, stored_narrow):
    """Compiled bundles by preset and weights. Tests must not change them."""

    def get(variant, weights="bfloat16"):
        def make(path):
            told = {"weights": weights, "context": CONTEXT, "chunk": CHUNK, "kernels": "onnxruntime"}
            compile(stored_narrow(variant).folder, "onnx-cuda", path, **told)

        return Bundle.open(once(shared, f"{variant}-stock-{weights}", make))

    return get


@pytest.fixture
def no_triton(monkeypatch):
    monkeypatch.setattr(options, "find_spec", lambda name: None)


def test_kernels_that_are_asked_for():
    assert ONNX_CUDA.options(kernels="onnxruntime").stock
    assert ONNX_CUDA.options(kernels="onnxruntime") != ONNX_CUDA.options(kernels="g4cuda")
    with pytest.raises(InputError, match="there are no kernels triton for CUDA"):
        ONNX_CUDA.options(kernels="triton")
    with pytest.raises(InputError, match="compiled already, for no GPU in particular"):
        ONNX_CUDA.options(kernels="onnxruntime", compute_capabilities=(90,))


def test_without_triton_nothing_is_silent(no_triton, stored_narrow):
    with pytest.warns(UserWarning, match="computes with ONNX Runtime's own kernels.*pip install triton"):
        assert ONNX_CUDA.options().stock
    with pytest.warns(UserWarning, match="and --sm has no use"):
        assert ONNX_CUDA.options(compute_capabilities=(90,)).compute_capabilities == ()
    asked = ONNX_CUDA.options(kernels="g4cuda")
    with pytest.raises(MachineError, match="Triton is not installed") as error:
        ONNX_CUDA.check(stored_narrow("tiny-e2b").facts, asked)
    assert error.value.fix == "pip install triton; or --kernels onnxruntime"


def test_the_verb_says_whose_kernels(stored_narrow, tmp_path, no_triton):
    told = ["compile", str(stored_narrow("tiny-12b").folder), "--target", "onnx-cuda", "--context", "64"]
    done = CliRunner().invoke(app, [*told, "-o", str(tmp_path / "one")])
    assert "warning: Triton is not installed" in done.stderr
    assert done.exit_code == 0 and "ONNX Runtime's own kernels, without those of g4compile" in done.stdout
    asked = CliRunner().invoke(app, [*told, "-o", str(tmp_path / "two"), "--kernels", "onnxruntime", "--json"])
    assert json.loads(asked.stdout)["kernels"] == "onnxruntime"
    shown = CliRunner().invoke(app, ["inspect", str(tmp_path / "one")])
    assert "onnxruntime-ops" in shown.stdout and "steps captured" in shown.stdout
    refused = CliRunner().invoke(app, [*told, "-o", str(tmp_path / "three"), "--kernels", "g4cuda"])
    assert refused.exit_code == 3 and "pip install triton" in refused.stderr


def test_what_the_manifest_says(stock_bundle):
    manifest = stock_bundle("tiny-e2b").manifest
    assert manifest.requires == ("ring-kv", "bfloat16-kv", "onnxruntime-ops")
    assert manifest.cuda == CudaSpec(CHUNK) and not manifest.cuda.host_sizes
    assert stock_bundle("tiny-26b-a4b").manifest.cuda == CudaSpec(CHUNK, host_sizes=True)
    assert (manifest.activations, manifest.kv.dtype) == ("bfloat16", "bfloat16")
    (graph,) = manifest.graphs.values()
    assert {one.name for one in graph.outputs} > {"logits", "next_token", "present.0.key", "present.2.value"}
    assert "kernels.json" not in manifest.files and not any(name.endswith(".cubin") for name in manifest.files)


def test_weights_are_those_of_the_checkpoint(stock_bundle, stored_narrow):
    found = initializers(stock_bundle("tiny-e2b"))
    for key, array in found.items():
        if not key.startswith(("const.", "model.rotary_emb", "model.embed")):
            stored = stored_narrow("tiny-e2b").read(key).astype(np.float32)
            turned = stored.ndim == 2 and not np.array_equal(array.astype(np.float32), stored)
            np.testing.assert_array_equal(array.astype(np.float32), stored.T if turned else stored)


@pytest.mark.parametrize("variant", ["tiny-e2b", "tiny-26b-a4b"])
def test_codes_in_the_file_are_those_of_the_graph(variant, stock_bundle, cuda_graph):
    """Experts too; as `verify` reads them. Scales are bfloat16."""
    model = cuda_graph(variant, weights="int4", kernels="onnxruntime")
    references = (value.const_value for value in model.graph.initializers.values())
    coded = {one.key: one.matrix for one in references if isinstance(one, QuantizedTensor)}
    found = dict(dequantized(stock_bundle(variant, "int4")))
    assert found.keys() == coded.keys()
    for key, weight in found.items():
        np.testing.assert_allclose(weight, coded[key].dequantized(), rtol=1e-6, atol=0)


def test_the_file_is_a_valid_graph(stock_bundle):
    file = stock_bundle("tiny-e2b").folder / "decoder.onnx"
    model = onnx.load(str(file), load_external_data=False)
    assert {one.domain for one in model.opset_import} >= {"", "com.microsoft"}
    assert not model.functions and {node.domain for node in model.graph.node} == {"", "com.microsoft"}


CONTRADICTIONS = [
    (("cuda", "compute_capabilities"), [90], "machine code for .90."),
    (("cuda", "kernels"), "kernels.json", "requires does not have g4cuda"),
    (("requires",), ["ring-kv", "bfloat16-kv"], "requires does not have onnxruntime-ops"),
    (("graphs", "decoder", "outputs", 2, "dtype"), "float", "an output of decoder, is"),
]


@pytest.mark.parametrize(("path", "value", "message"), CONTRADICTIONS)
def test_fields_that_contradict_each_other(stock_bundle, tmp_path, path, value, message):
    def edit(manifest):
        *steps, last = path
        for step in steps:
            manifest = manifest[step]
        manifest[last] = value

    folder = linked(stock_bundle("tiny-e2b").folder, tmp_path / "bundle")
    rewrite(folder, edit)
    with pytest.raises(BundleError, match=message):
        Bundle.open(folder)


@pytest.mark.parametrize(("variant", "captured"), [("tiny-e2b", "1"), ("tiny-26b-a4b", "0")])
def test_opening_needs_no_library(variant, captured, stock_bundle, monkeypatch):
    """Nothing falls back to the CPU, and steps are captured, but where sizes are computed on the host."""
    bundle, given = stock_bundle(variant), {}
    graph = bundle.manifest.graphs["decoder"]

    def tensors(specs):
        return [SimpleNamespace(name=one.name, type=f"tensor({one.dtype})", shape=list(one.shape)) for one in specs]

    class Session:
        def __init__(self, file, options, providers, enable_fallback):
            ((_, given["told"]),) = providers
            given["options"] = options

        get_providers = staticmethod(lambda: ["CUDAExecutionProvider"])
        get_inputs = staticmethod(lambda: tensors(graph.inputs))
        get_outputs = staticmethod(lambda: tensors(graph.outputs))

    def no_library(purpose):
        raise AssertionError(purpose)

    monkeypatch.setattr(opening, "require_library", no_library)
    monkeypatch.setattr(opening.ort, "InferenceSession", Session)
    opening.open_graph(bundle, HostDevice())
    assert given["options"].get_session_config_entry("session.disable_cpu_ep_fallback") == captured
    assert given["told"]["enable_cuda_graph"] == captured
