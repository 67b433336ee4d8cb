"""Opening a bundle for CUDA from its folder: what is refused, and what a machine without a GPU says."""

from __future__ import annotations

import hashlib
import json
from types import SimpleNamespace

import msgspec
import pytest
from typer.testing import CliRunner

from g4compile.bundle.folder import Bundle
from g4compile.bundle.manifest import FileSpec, GraphSpec, TensorSpec, encode
from g4compile.cli.app import app
from g4compile.errors import BundleError, InputError, MachineError
from g4compile.runtime import packages
from g4compile.runtime.cuda import opening
from g4compile.runtime.session import load
from tests.runtime.cuda import fake
from tests.runtime.cuda.test_kernels import record
from tests.runtime.host_device import HostDevice


@pytest.fixture
def folder(tmp_path):
    """A bundle whose graph and kernels are no such things."""
    manifest = fake.manifest()
    caches = [
        TensorSpec(f"past_key_values.{layer.layer}.{part}", "bfloat16", ("batch", 1, layer.slots or fake.CONTEXT, 1))
        for layer in manifest.kv.layers
        for part in ("key", "value")
    ]
    rows = [TensorSpec(name, "int64", ("batch", "new")) for name in ("input_ids", "position_ids")]
    index = TensorSpec("logit_index", "int64", ("batch", "kept", 1))
    logits = TensorSpec("logits", "float", ("batch", "kept", fake.VOCABULARY))
    kernel = record("one", "sm_90a")
    files = {
        "decoder.onnx": b"no graph",
        "weights.data": b"1234",
        "kernels.json": json.dumps({"format": 2, "kernels": [kernel]}).encode(),
        kernel["cubin"]: b"cubin",
        kernel["ptx"]: b"ptx",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    manifest = msgspec.structs.replace(
        manifest,
        requires=("ring-kv", "bfloat16-kv", "g4cuda"),
        source={"config_sha256": "0" * 64},
        graphs={
            "decoder": GraphSpec(
                "decoder.onnx",
                (*rows, index, *caches),
                (logits, TensorSpec("next_token", "int64", ("batch", 1))),
                "decoder",
            )
        },
        files={name: FileSpec(len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items()},
    )
    (tmp_path / "g4.json").write_bytes(encode(manifest))
    return tmp_path


@pytest.fixture
def no_driver(monkeypatch):
    def find_gpu():
        raise MachineError("no driver of NVIDIA was found", fix="install it")

    monkeypatch.setattr(opening, "find_gpu", find_gpu)


def test_a_machine_without_a_gpu_says_so(folder, no_driver):
    with pytest.raises(MachineError, match="no driver of NVIDIA"):
        load(folder)
    for verb in (["run", folder, "--ids", "3"], ["bench", folder]):
        done = CliRunner().invoke(app, [*map(str, verb), "--json"])
        assert done.exit_code == 3 and json.loads(done.stdout)["try"] == "install it", done.stdout


@pytest.mark.parametrize(
    "given", [{"threads": 1}, {"chunk": 16}, {"cache": "cache"}, {"profile": "profile"}, {"checkpoint": "checkpoint"}]
)
def test_what_has_no_use_is_refused(folder, given):
    with pytest.raises(InputError, match=f"onnx-cuda has no use for {next(iter(given))}"):
        load(folder, **given)


@pytest.fixture
def library(monkeypatch):
    calls = []
    found = SimpleNamespace(
        add_kernels=lambda kernels: calls.append([kernel.name for kernel in kernels]),
        register=lambda options: calls.append("register"),
        load_kernels=lambda: calls.append("load"),
    )
    monkeypatch.setattr(opening, "require_library", lambda purpose: found)
    return calls


def test_kernels_are_given_before_the_graph_is_opened(folder, library, monkeypatch):
    """On the device's stream, and nothing on the CPU."""
    bundle, device, given = Bundle.open(folder), HostDevice(), {}
    graph = bundle.manifest.graphs["decoder"]

    def tensors(specs):
        return [SimpleNamespace(name=one.name, type=f"tensor({one.dtype})", shape=list(one.shape)) for one in specs]

    class Session:
        def __init__(self, file, options, providers, enable_fallback):
            assert library[-2:] == [["one"], "register"]
            ((provider, self.told),) = providers
            assert (file, provider) == (str(folder / "decoder.onnx"), "CUDAExecutionProvider")
            given["options"], given["told"] = options, self.told

        get_providers = staticmethod(lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
        get_inputs = staticmethod(lambda: tensors(graph.inputs))
        get_outputs = staticmethod(lambda: tensors(graph.outputs))

    monkeypatch.setattr(opening.ort, "InferenceSession", Session)
    opening.open_graph(bundle, device)
    assert library[-1] == "load"
    assert given["told"]["user_compute_stream"] == "7" and given["told"]["enable_cuda_graph"] == "1"
    assert given["options"].get_session_config_entry("session.disable_cpu_ep_fallback") == "1"
    monkeypatch.setattr(Session, "get_outputs", staticmethod(lambda: tensors(graph.outputs[:1])))
    with pytest.raises(BundleError, match="does not describe the outputs of the graph decoder"):
        opening.open_graph(bundle, device)


def test_only_the_decoder_brings_kernels(folder, library, monkeypatch):
    """Those of all graphs of the bundle."""
    bundle = Bundle.open(folder)
    manifest = msgspec.structs.replace(bundle.manifest, graphs={"choice": GraphSpec("choice.onnx", (), (), "choice")})
    none = SimpleNamespace(get_providers=lambda: [packages.PROVIDER], get_inputs=list, get_outputs=list)
    monkeypatch.setattr(opening.ort, "InferenceSession", lambda *arguments, **options: none)
    opening.open_graph(Bundle(bundle.folder, manifest), HostDevice(), "choice")
    assert library == ["register", "load"]


def test_a_graph_that_is_refused(folder, library, monkeypatch):
    bundle, device = Bundle.open(folder), HostDevice()
    monkeypatch.setattr(packages, "provider_loads", lambda: True)
    with pytest.raises(BundleError, match="cannot load the bundle's graph"), pytest.warns(UserWarning):
        opening.open_graph(bundle, device)
    monkeypatch.setattr(packages, "provider_loads", lambda: False)
    with pytest.raises(MachineError, match="CUDA provider cannot be loaded"), pytest.warns(UserWarning):
        opening.open_graph(bundle, device)
